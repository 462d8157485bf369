import pytest

from greenroom.errors import ConfigError
from greenroom.server import ServerOptions, load_options
from greenroom.server.config import options_from


def test_a_toml_file_says_what_the_options_are_called(tmp_path):
    file = tmp_path / "greenroom.toml"
    file.write_text(
        'host = "0.0.0.0"\nport = 7880\nadvertise = ["198.51.100.7"]\nempty_timeout = 60\n'
        '[keys]\ndevkey = "secret"\n[limits]\ntracks = 5\n[webhooks]\nurls = ["http://x/"]\napi_key = "devkey"\n'
    )
    options = load_options(file)
    assert (options.host, options.port, options.advertise) == ("0.0.0.0", 7880, ["198.51.100.7"])
    assert options.keys == {"devkey": "secret"} and options.short_secrets == ("devkey",)
    assert (options.limits.tracks, options.webhooks.urls) == (5, ["http://x/"])


def test_names_of_livekits_configuration_are_understood():
    options = options_from(
        {
            "port": 7880,
            "bind_addresses": ["127.0.0.1"],
            "rtc": {"udp_port": 7882, "tcp_port": 7881, "node_ip": "198.51.100.7"},
            "room": {"auto_create": False, "empty_timeout": 1, "enable_remote_unmute": True},
            "limit": {"signal_message_size_limit": 1000},
            "keys": {"a": "b"},
        }
    )
    assert (options.udp_port, options.tcp_port, options.advertise) == (7882, 7881, ["198.51.100.7"])
    assert not options.auto_create and options.remote_unmute and options.signal_size == 1000


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"novel": 1}, "unknown setting novel"),
        ({"rtc": {"novel": 1}}, r"unknown setting rtc\.novel"),
        ({"port": "7880"}, "port must be"),
        ({"port": True}, "port must be"),
        ({"auto_create": 1}, "auto_create must be"),
        ({"limits": {"novel": 1}}, r"unknown setting limits\.novel"),
        ({"limits": 5}, "limits must hold"),
        ({"port": 99_999}, "port must be 0 to 65535"),
        ({"webhooks": {"api_key": "x"}}, "not among the keys"),
        ({"bind_addresses": ["a", "b"]}, "one address"),
    ],
)
def test_what_is_wrong_is_named(values, complaint):
    with pytest.raises(ConfigError, match=complaint):
        options_from(values)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        load_options(tmp_path / "missing.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("port = ")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_options(broken)


def test_secrets_do_not_show():
    assert "hunter2" not in repr(ServerOptions(keys={"k": "hunter2"}))
