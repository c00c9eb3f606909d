"""Sealing keys in AWS KMS: they never leave it, and AWS keeps its own record of each use.

The context of a data key is KMS's encryption context: authenticated, and readable in CloudTrail. A rotation uses `ReEncrypt`,
in which the data key stays inside KMS. The sealing key's name is its ARN; the versions that KMS itself makes of one are its own
matter. https://docs.aws.amazon.com/kms/latest/developerguide/encrypt_context.html
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from keyferry.runtime.settings import SettingsError
from services.key_vault.sealing import Undecryptable
from services.key_vault.sealing_keys.protocol import (
    CannotRenew,
    Context,
    Description,
    Renewal,
    SealingKeyMissing,
    SealingKeyUnavailable,
    WrappedDataKey,
)

if TYPE_CHECKING:
    from mypy_boto3_kms.client import KMSClient

PROVIDER = "aws_kms"
KMS_DAYS = 365
"""How often KMS rotates a key for which no period was chosen."""
CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 3.0, 5.0, 3
_CHANGED = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_MISSING = frozenset({"NotFoundException", "DisabledException", "KMSInvalidStateException", "KeyUnavailableException"})
"""What KMS answers for a key that is deleted, disabled or about to be deleted."""

Answer = TypeVar("Answer")


class AwsKms:
    """The KMS key `key_id` (id, ARN or alias) is primary; any other one that the credentials may use can unwrap.

    Raises SealingKeyUnavailable and SettingsError from `refresh`, which has to be awaited before anything else.
    """

    def __init__(self, client: "KMSClient", key_id: str) -> None:
        self._client = client
        self._key_id = key_id
        self._arn = key_id

    async def refresh(self) -> None:
        """Find out the ARN of the primary key: an alias may have been pointed at another one."""
        try:
            found = await self._call(self._key_id, lambda: self._client.describe_key(KeyId=self._key_id))
        except Undecryptable as error:
            raise SettingsError(f"the KMS key {self._key_id} cannot be used: {error}") from None
        self._arn = found["KeyMetadata"].get("Arn", self._key_id)

    async def wrap(self, data_key: bytes, context: Context) -> bytes:
        """See SealingKeys."""
        answer = await self._call(
            self._arn,
            lambda: self._client.encrypt(KeyId=self._arn, Plaintext=data_key, EncryptionContext=dict(context)),
        )
        return WrappedDataKey(PROVIDER, answer["KeyId"], answer["CiphertextBlob"]).encode()

    async def unwrap(self, blob: bytes, context: Context) -> bytes:
        """See SealingKeys."""
        wrapped = WrappedDataKey.decode(blob, PROVIDER)
        answer = await self._call(
            wrapped.sealing_key,
            # Without the key's id KMS would take whichever key the ciphertext itself names.
            lambda: self._client.decrypt(
                KeyId=wrapped.sealing_key, CiphertextBlob=wrapped.ciphertext, EncryptionContext=dict(context)
            ),
        )
        return answer["Plaintext"]

    async def rewrap(self, blob: bytes, context: Context) -> bytes:
        """See SealingKeys."""
        wrapped = WrappedDataKey.decode(blob, PROVIDER)
        source = wrapped.sealing_key
        try:
            answer = await self._call(
                source,
                lambda: self._client.re_encrypt(
                    SourceKeyId=source,
                    CiphertextBlob=wrapped.ciphertext,
                    SourceEncryptionContext=dict(context),
                    DestinationKeyId=self._arn,
                    DestinationEncryptionContext=dict(context),
                ),
            )
        except SealingKeyUnavailable:
            # Two keys are involved, and a refusal does not say which one it is about.
            await self._call(source, lambda: self._client.describe_key(KeyId=source))
            raise
        return WrappedDataKey(PROVIDER, answer["KeyId"], answer["CiphertextBlob"]).encode()

    async def renewal(self) -> Renewal:
        """What KMS does by itself. A new KMS key would need rights over the account that the vault should not have."""
        advice = f"turn on AWS KMS's own rotation of {self._arn}, or point the alias at a new key"
        try:
            status = await self._call(self._arn, lambda: self._client.get_key_rotation_status(KeyId=self._arn))
        except (SealingKeyUnavailable, Undecryptable):
            return Renewal(f"{advice}, and let this service use it for GetKeyRotationStatus, so that it can see that")
        days = status.get("RotationPeriodInDays", KMS_DAYS) if status.get("KeyRotationEnabled") else None
        return Renewal(advice if days is None else f"AWS KMS changes it every {days} days only: choose fewer", days)

    async def renew(self, now: datetime) -> None:
        """See SealingKeys."""
        raise CannotRenew(
            "the vault makes no keys in AWS KMS: turn on its own rotation, or point the alias at a new key"
        )

    def describe(self) -> Description:
        """See SealingKeys."""
        return Description(PROVIDER, self._arn, (self._arn,))

    def name_of(self, blob: bytes) -> str:
        """See SealingKeys."""
        return WrappedDataKey.decode(blob, PROVIDER).sealing_key

    async def _call(self, sealing_key: str, call: Callable[[], Answer]) -> Answer:
        """One call, in a thread: boto3 blocks. Its errors say what is wrong without what was sent."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return await asyncio.to_thread(call)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "unknown")
        except BotoCoreError as error:
            raise SealingKeyUnavailable(f"AWS KMS does not answer: {type(error).__name__}") from None
        if code in _CHANGED:
            raise Undecryptable(
                f"AWS KMS does not open a data key with {sealing_key}: it was changed, moved, or wrapped for another tenant"
            )
        if code in _MISSING:
            raise SealingKeyMissing(
                sealing_key, f"AWS KMS says {code}; enable it, or cancel its deletion, in the AWS console"
            )
        raise SealingKeyUnavailable(
            f"AWS KMS refuses ({code}): check that this service may use {sealing_key} for Encrypt, Decrypt, ReEncrypt* and"
            " DescribeKey"
        )


def connect(key_id: str, *, region: str | None = None, endpoint_url: str | None = None) -> AwsKms:
    """AWS KMS with the credentials that boto3 finds. Raises SettingsError where boto3 or a region is missing."""
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise SettingsError("sealing keys in AWS KMS need boto3: install the extra `aws-kms`") from None
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "max_attempts": ATTEMPTS},
    )
    try:
        return AwsKms(boto3.client("kms", region_name=region, endpoint_url=endpoint_url, config=config), key_id)
    except (BotoCoreError, ValueError) as error:
        raise SettingsError(
            f"AWS KMS cannot be set up: {type(error).__name__}; set a region and a valid address"
        ) from None
