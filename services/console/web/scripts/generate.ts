/** Generates the types of the management API, and who may call what, from the OpenAPI document. */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import openapiTS, { astToString } from "openapi-typescript";

interface Operation {
  operationId?: string;
  "x-keyferry-roles"?: string[];
}

const DOCUMENT = new URL("../../../../docs/architecture/openapi.json", import.meta.url);
const FOLDER = new URL("../src/api/generated/", import.meta.url);

const document = JSON.parse(readFileSync(DOCUMENT, "utf8"));
// An operator's routes for a tenant are the tenant's own under another prefix, which the client puts in front.
for (const path of Object.keys(document.paths)) {
  if (path.startsWith("/api/v1/ops/tenants/{tenant}/")) {
    delete document.paths[path];
  }
}
mkdirSync(FOLDER, { recursive: true });
const types = astToString(await openapiTS(document, { defaultNonNullable: false, alphabetize: true }));
writeFileSync(new URL("schema.d.ts", FOLDER), types);

const roles: Record<string, string[]> = {};
for (const path of Object.values(document.paths as Record<string, Record<string, Operation>>)) {
  for (const operation of Object.values(path)) {
    const allowed = operation["x-keyferry-roles"];
    if (operation.operationId && allowed) {
      roles[operation.operationId] = allowed;
    }
  }
}
writeFileSync(new URL("roles.json", FOLDER), `${JSON.stringify(roles, null, 2)}\n`);
