"""Routing rules: published versions, which never change, the draft of each tenant, and which version is published."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_VERSIONS = """
CREATE TABLE rule_versions (
    tenant        text        NOT NULL,
    version       bigint      NOT NULL CHECK (version >= 1),
    document      jsonb       NOT NULL CHECK (jsonb_typeof(document -> 'rules') = 'array'),
    note          text        NOT NULL,
    actor         text        NOT NULL,
    published_at  timestamptz NOT NULL,
    restored_from bigint,
    PRIMARY KEY (tenant, version),
    FOREIGN KEY (tenant, restored_from) REFERENCES rule_versions (tenant, version)
)
"""
_PUBLISHED = """
CREATE TABLE rules_published (
    tenant  text   PRIMARY KEY,
    version bigint NOT NULL,
    FOREIGN KEY (tenant, version) REFERENCES rule_versions (tenant, version)
)
"""
_DRAFTS = """
CREATE TABLE rule_drafts (
    tenant   text        PRIMARY KEY,
    revision bigint      NOT NULL CHECK (revision >= 1),
    document jsonb       NOT NULL CHECK (jsonb_typeof(document -> 'rules') = 'array'),
    actor    text        NOT NULL,
    saved_at timestamptz NOT NULL,
    based_on bigint      NOT NULL CHECK (based_on >= 0)
)
"""
_IMMUTABLE_FUNCTION = """
CREATE FUNCTION rule_versions_are_immutable() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'published versions of rules are never changed or removed';
END $$
"""
_IMMUTABLE_TRIGGER = """
CREATE TRIGGER rule_versions_immutable BEFORE UPDATE OR DELETE ON rule_versions
FOR EACH STATEMENT EXECUTE FUNCTION rule_versions_are_immutable()
"""


def upgrade() -> None:
    """Create the tables."""
    for statement in (_VERSIONS, _PUBLISHED, _DRAFTS, _IMMUTABLE_FUNCTION, _IMMUTABLE_TRIGGER):
        op.execute(statement)


def downgrade() -> None:
    """Refuse: decisions name the versions."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
