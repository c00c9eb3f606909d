// A certified OpenID provider for one test. It reads one line of JSON, {client, secret, audience, people}, and answers with one
// line, {port}; further lines {rotate: ALGORITHM} make it sign with a new key, the old one still published, and are answered, too.
// It ends with its standard input, so that it never outlives the test.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { Provider } from 'oidc-provider';

console.info = console.error; // the standard output is for answers alone

const SCOPES = 'openid profile email';
const keys = [];
let settings;
let issuer;
let answer;

function addKey(alg) {
  const { privateKey } = alg === 'ES256'
    ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
    : generateKeyPairSync('rsa', { modulusLength: 2048 });
  keys.unshift({ ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg });
}

function clients(alg) {
  return [
    {
      client_id: settings.client,
      client_secret: settings.secret,
      application_type: 'native', // the console's port is another one in each test: RFC 8252, 7.3
      redirect_uris: ['http://127.0.0.1/auth/callback'],
      post_logout_redirect_uris: ['http://127.0.0.1/'],
      response_types: ['code'],
      grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
      token_endpoint_auth_method: 'client_secret_post',
      id_token_signed_response_alg: alg,
    },
    {
      client_id: 'robot',
      client_secret: settings.secret,
      redirect_uris: [],
      response_types: [],
      grant_types: ['client_credentials'],
      token_endpoint_auth_method: 'client_secret_post',
    },
  ];
}

function provide(alg) {
  const provider = new Provider(issuer, {
    clients: clients(alg),
    jwks: { keys: [...keys] },
    cookies: { keys: [randomUUID()] },
    pkce: { required: () => true },
    conformIdTokenClaims: false, // the console reads the ID token alone
    claims: { openid: ['sub', 'tenant', 'realm_access'], profile: ['name'], email: ['email', 'email_verified'] },
    findAccount: (_, id) => id in settings.people && {
      accountId: id,
      claims: () => ({ sub: id, ...settings.people[id] }),
    },
    loadExistingGrant: async (ctx) => {
      const grant = new ctx.oidc.provider.Grant({
        clientId: ctx.oidc.client.clientId,
        accountId: ctx.oidc.session.accountId,
      });
      grant.addOIDCScope(SCOPES);
      await grant.save();
      return grant;
    },
    extraTokenClaims: (_, token) => settings.people[token.clientId],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      deviceFlow: {
        enabled: true,
        userCodeInputSource: (ctx, form, _, error) => { ctx.body = error ? 'you are not signed in' : form; },
        userCodeConfirmSource: (ctx, form) => { ctx.body = form; },
        successSource: (ctx) => { ctx.body = 'you may go back to your terminal'; },
      },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({
          scope: '',
          audience: settings.audience,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg } },
        }),
      },
    },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  });
  const respond = provider.callback();
  answer = (request, response) => (
    request.url.startsWith('/interaction/') ? interact(provider, request, response) : respond(request, response)
  );
}

async function interact(provider, request, response) {
  if (request.method === 'GET') {
    response.setHeader('content-type', 'text/html');
    response.end('<form method="post"><input name="login"><input name="password" type="password"></form>');
    return;
  }
  let body = '';
  for await (const part of request) body += part;
  const login = new URLSearchParams(body).get('login');
  const result = login in settings.people
    ? { login: { accountId: login, acr: '1' }, consent: {} }
    : { error: 'access_denied', error_description: 'the person said no' };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

const server = createServer((request, response) => answer(request, response));
const commands = createInterface({ input: process.stdin });
commands.on('close', () => process.exit(0));
for await (const line of commands) {
  const command = JSON.parse(line);
  if (settings === undefined) {
    settings = command;
    await new Promise((listening) => { server.listen(0, '127.0.0.1', listening); });
    issuer = `http://127.0.0.1:${server.address().port}`;
  }
  const alg = command.rotate ?? 'RS256';
  addKey(alg);
  provide(alg);
  process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`);
}
