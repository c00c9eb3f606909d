"""Verification of the audit's chains: pages of tenants, from their first entries or from what was verified before."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyferry.contracts.audit import AuditHead, AuditVerification, VerifyAudit
from services.usage_ledger.audit_chain import ChainCheck
from services.usage_ledger.audit_checkpoint import (
    AuditCheckpoint,
    is_checkpoint_signed,
    next_checkpoint,
    sign_checkpoint,
)
from services.usage_ledger.audit_checkpoint_store import AuditCheckpointStore
from services.usage_ledger.audit_store import AuditStore

_MAX_FAULTS = 100
"""Faults in one answer; the first ones show where to look."""
_PAGE = 250
"""Tenants whose heads and entries are read together."""

ReadHeads = Callable[[Sequence[str] | None], Awaitable[dict[str, AuditHead]]]
"""Returns the signed heads of some tenants, or of all."""


@dataclass(slots=True)
class _Findings:
    """What a verification has found so far."""

    incremental: bool
    tenants: int = 0
    entries: int = 0
    continued: int = 0
    full_at: datetime | None = None
    faults: list[str] = field(default_factory=list)

    def report(self, next_after: str | None = None, of_tenants: int | None = None) -> AuditVerification:
        return AuditVerification(
            tenants=self.tenants,
            entries=self.entries,
            faults=self.faults[:_MAX_FAULTS],
            continued=self.continued,
            full_at=self.full_at,
            next=next_after,
            of_tenants=of_tenants,
        )


class AuditVerifier:
    """Verifies chains, and remembers by a signed checkpoint how far each one was found unchanged."""

    def __init__(
        self,
        *,
        store: AuditStore,
        checkpoints: AuditCheckpointStore,
        key: Ed25519PrivateKey,
        read_heads: ReadHeads,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._checkpoints = checkpoints
        self._key = key
        self._read_heads = read_heads
        self._clock = clock

    async def verify(self, command: VerifyAudit) -> AuditVerification:
        """Verify one chain, a page of them, or all. Raises DatabaseUnavailable, and nats-py's errors without the signed heads."""
        findings = _Findings(command.incremental)
        if command.tenant is not None:
            await self._verify([command.tenant], findings)
            return findings.report()
        of_tenants = await self._checkpoints.count_tenants()
        size = command.limit or _PAGE
        after = command.after
        while True:
            tenants = await self._checkpoints.tenants_after(after, size)
            await self._verify(tenants, findings)
            if len(tenants) < size:
                await self._verify_rest(findings)
                return findings.report(None, of_tenants)
            after = tenants[-1]
            if command.limit is not None:
                return findings.report(after, of_tenants)

    async def _verify_rest(self, findings: _Findings) -> None:
        """Verify what belongs to no chain: heads and entries of tenants that the table of chains has lost, and missing events."""
        heads = await self._read_heads(None)
        rest = set(await self._checkpoints.tenants_without_head())
        rest |= heads.keys() - set(await self._store.chains())
        await self._verify(sorted(rest), findings)
        missing = await self._store.missing()
        findings.faults += [f"{count} events of the {service} are missing" for service, count in missing.items()]

    async def _verify(self, tenants: Sequence[str], findings: _Findings) -> None:
        # The heads first: an entry that is appended meanwhile is behind its head, which is no fault.
        heads = await self._read_heads(tenants) if tenants else {}
        starts = await self._starts(tenants, findings) if findings.incremental and tenants else {}
        checks = {tenant: ChainCheck(tenant, heads.get(tenant), starts.get(tenant)) for tenant in tenants}
        if tenants:
            positions = {tenant: starts[tenant].position if tenant in starts else 1 for tenant in tenants}
            async for rows in self._checkpoints.entries(positions):
                for row in rows:
                    checks[row.tenant].check(row.position, row.entry)
                findings.entries += len(rows)
        now = self._clock()
        kept: list[AuditCheckpoint] = []
        faulty: list[str] = []
        for tenant, check in checks.items():
            check.close(self._key.public_key())
            findings.faults += check.faults
            start = starts.get(tenant)
            if check.faults:
                faulty.append(tenant)
            elif (checkpoint := next_checkpoint(heads.get(tenant), start, now)) is not None:
                kept.append(sign_checkpoint(checkpoint, self._key))
            if start is not None:
                findings.full_at = min(findings.full_at or start.full_at, start.full_at)
        await self._checkpoints.keep(kept, faulty)
        findings.tenants += len(checks)
        findings.continued += len(starts)

    async def _starts(self, tenants: Sequence[str], findings: _Findings) -> dict[str, AuditCheckpoint]:
        """Return the checkpoints with a valid signature. One that was forged is a fault, and its chain is verified whole."""
        found = await self._checkpoints.checkpoints(tenants)
        public_key = self._key.public_key()
        valid = {tenant: item for tenant, item in found.items() if is_checkpoint_signed(item, public_key)}
        forged = sorted(found.keys() - valid.keys())
        findings.faults += [f"{tenant}: its checkpoint was forged" for tenant in forged]
        await self._checkpoints.keep([], forged)
        return valid
