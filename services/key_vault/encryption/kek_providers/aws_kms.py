"""KEKs in AWS KMS: they never leave it, and CloudTrail logs each use.

The context of a data key is KMS's encryption context: authenticated, and readable in CloudTrail. A rotation uses `ReEncrypt`,
which keeps the data key inside KMS. The KEK's name is its ARN; KMS manages the versions of one KEK by itself.
https://docs.aws.amazon.com/kms/latest/developerguide/encrypt_context.html
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from keyferry.runtime.process.settings import SettingsError
from services.key_vault.encryption.kek_providers.protocol import (
    CannotRenew,
    Context,
    EncryptedDataKey,
    KekDescription,
    KekMissing,
    KekUnavailable,
    Renewal,
)
from services.key_vault.encryption.record_cipher import Undecryptable

if TYPE_CHECKING:
    from mypy_boto3_kms.client import KMSClient

PROVIDER = "aws_kms"
KMS_DAYS = 365
"""KMS's default rotation period."""
CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 3.0, 5.0, 3
_CHANGED = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_MISSING = frozenset({"NotFoundException", "DisabledException", "KMSInvalidStateException", "KeyUnavailableException"})
"""KMS's error codes for a key that is deleted, disabled or scheduled for deletion."""

Answer = TypeVar("Answer")


class AwsKms:
    """The KMS key `key_id` (id, ARN or alias) as primary; any other key that the credentials may use can decrypt.

    Await `refresh` before anything else; it raises KekUnavailable and SettingsError.
    """

    def __init__(self, client: "KMSClient", key_id: str) -> None:
        self._client = client
        self._key_id = key_id
        self._arn = key_id

    async def refresh(self) -> None:
        """Look up the ARN of the primary key: an alias may point at another one by now."""
        try:
            found = await self._call(self._key_id, lambda: self._client.describe_key(KeyId=self._key_id))
        except Undecryptable as error:
            raise SettingsError(f"the KMS key {self._key_id} cannot be used: {error}") from None
        self._arn = found["KeyMetadata"].get("Arn", self._key_id)

    async def encrypt(self, data_key: bytes, context: Context) -> bytes:
        """Implement KekProvider."""
        answer = await self._call(
            self._arn,
            lambda: self._client.encrypt(KeyId=self._arn, Plaintext=data_key, EncryptionContext=dict(context)),
        )
        return EncryptedDataKey(PROVIDER, answer["KeyId"], answer["CiphertextBlob"]).encode()

    async def decrypt(self, blob: bytes, context: Context) -> bytes:
        """Implement KekProvider."""
        data_key = EncryptedDataKey.decode(blob, PROVIDER)
        answer = await self._call(
            data_key.kek,
            # Without the key's id KMS would take whichever key the ciphertext itself names.
            lambda: self._client.decrypt(
                KeyId=data_key.kek, CiphertextBlob=data_key.ciphertext, EncryptionContext=dict(context)
            ),
        )
        return answer["Plaintext"]

    async def re_encrypt(self, blob: bytes, context: Context) -> bytes:
        """Implement KekProvider."""
        data_key = EncryptedDataKey.decode(blob, PROVIDER)
        source = data_key.kek
        try:
            answer = await self._call(
                source,
                lambda: self._client.re_encrypt(
                    SourceKeyId=source,
                    CiphertextBlob=data_key.ciphertext,
                    SourceEncryptionContext=dict(context),
                    DestinationKeyId=self._arn,
                    DestinationEncryptionContext=dict(context),
                ),
            )
        except KekUnavailable:
            # Two keys are involved, and the error does not say which one is meant.
            await self._call(source, lambda: self._client.describe_key(KeyId=source))
            raise
        return EncryptedDataKey(PROVIDER, answer["KeyId"], answer["CiphertextBlob"]).encode()

    async def check_renewal(self) -> Renewal:
        """Return KMS's own rotation. Creating KMS keys would need account rights that the vault should not have."""
        advice = f"turn on AWS KMS's own rotation of {self._arn}, or point the alias at a new key"
        try:
            status = await self._call(self._arn, lambda: self._client.get_key_rotation_status(KeyId=self._arn))
        except (KekUnavailable, Undecryptable):
            return Renewal(
                f"{advice}, and allow this service GetKeyRotationStatus on it, so that the vault can see that"
            )
        days = status.get("RotationPeriodInDays", KMS_DAYS) if status.get("KeyRotationEnabled") else None
        return Renewal(
            advice if days is None else f"AWS KMS rotates it only every {days} days: choose a shorter period", days
        )

    async def renew(self, now: datetime) -> None:
        """Implement KekProvider."""
        raise CannotRenew(
            "the vault creates no keys in AWS KMS: turn on its own rotation, or point the alias at a new key"
        )

    def describe(self) -> KekDescription:
        """Implement KekProvider."""
        return KekDescription(PROVIDER, self._arn, (self._arn,))

    def name_of(self, blob: bytes) -> str:
        """Implement KekProvider."""
        return EncryptedDataKey.decode(blob, PROVIDER).kek

    async def _call(self, kek: str, call: Callable[[], Answer]) -> Answer:
        """Run one call in a thread, since boto3 blocks. The errors raised repeat nothing of what was sent."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return await asyncio.to_thread(call)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "unknown")
        except BotoCoreError as error:
            raise KekUnavailable(f"AWS KMS does not answer: {type(error).__name__}") from None
        if code in _CHANGED:
            raise Undecryptable(
                f"AWS KMS cannot decrypt a data key with {kek}: it was changed, moved, or encrypted for another tenant"
            )
        if code in _MISSING:
            raise KekMissing(kek, f"AWS KMS says {code}; enable it, or cancel its deletion, in the AWS console")
        raise KekUnavailable(
            f"AWS KMS refuses ({code}): check that this service may use {kek} for Encrypt, Decrypt, ReEncrypt* and"
            " DescribeKey"
        )


def connect(key_id: str, *, region: str | None = None, endpoint_url: str | None = None) -> AwsKms:
    """Connect to AWS KMS with the credentials that boto3 finds. Raises SettingsError without boto3 or a region."""
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise SettingsError("KEKs in AWS KMS need boto3: install the extra `aws-kms`") from None
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
