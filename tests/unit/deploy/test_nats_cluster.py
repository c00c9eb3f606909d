"""The NATS configuration for several servers and for TLS, checked by the server itself."""

from pathlib import Path

import pytest

from deploy.embedded.nats import check_configuration, find_nats_server
from deploy.nats.cluster import NatsCluster, TlsFiles
from deploy.nats.render import render_server_conf

_LOOPBACK = ["127.0.0.1:6222", "127.0.0.1:6223", "[::1]:6224"]


def test_the_server_accepts_the_configuration_of_a_node(tmp_path: Path) -> None:
    conf = tmp_path / "nats.conf"
    cluster = NatsCluster("keyferry", "127.0.0.1", 6222, _LOOPBACK)
    conf.write_text(render_server_conf({}, port=4222, store_dir=tmp_path, name="nats-1", cluster=cluster))
    check_configuration(find_nats_server(), conf)
    assert "handshake_first" not in conf.read_text()


@pytest.mark.parametrize("tls", [None, TlsFiles(Path("c.pem"), Path("k.pem"))])
@pytest.mark.parametrize(("host", "route"), [("10.0.0.1", "127.0.0.1:6222"), ("127.0.0.1", "nats-2:6222")])
def test_a_cluster_that_strangers_could_join_is_refused(host: str, route: str, tls: TlsFiles | None) -> None:
    cluster = NatsCluster("keyferry", host, 6222, [route], tls)
    with pytest.raises(ValueError, match=r"routes beyond loopback .* need TLS on both sides"):
        render_server_conf({}, port=4222, store_dir=Path("/x"), cluster=cluster)


@pytest.mark.parametrize("name", ['a" permissions', "a\nlisten: x", "\x00", "a\\"])
def test_text_that_would_change_the_configuration_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="printable characters without quotes"):
        render_server_conf({}, port=4222, store_dir=Path("/x"), name=name)
