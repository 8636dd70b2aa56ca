"""What a server's variables may say."""

from __future__ import annotations

import pytest

from tilth.errors import SetupError
from tilth.server.settings import ServerSettings


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("TILTH_SERVER_WORKERS", "0", "from 1"),
        ("TILTH_SERVER_SESSION_DAYS", "-1", "from 1"),
        ("TILTH_SERVER_PUBLIC_URL", "tilth.example.com", "`https://tilth.example.com`"),
        (
            "TILTH_SERVER_DATABASE_URL",
            "mysql://ada:secret@db/tilth",
            "`postgresql://USER:PASSWORD@HOST/NAME`",
        ),
        ("TILTH_SERVER_TRUSTED_PROXIES", "10.0.0.7, proxy", "`*` for any"),
        ("TILTH_SERVER_RUNNER_SLOT", "3", "did you mean `TILTH_SERVER_RUNNER_SLOTS`?"),
    ],
)
def test_a_variable_that_cannot_be_meant_is_told(monkeypatch, name, value, told):
    monkeypatch.setenv(name, value)
    with pytest.raises(SetupError) as raised:
        ServerSettings.from_environment()
    assert name in raised.value.summary
    assert told in raised.value.mend
    assert "secret" not in str(raised.value)


def test_what_kubernetes_tells_of_a_service_of_this_name_is_no_setting(monkeypatch):
    monkeypatch.setenv("TILTH_SERVER_PORT", "tcp://10.96.0.7:80")
    monkeypatch.setenv("TILTH_SERVER_PORT_80_TCP_ADDR", "10.96.0.7")
    monkeypatch.setenv("TILTH_SERVER_SERVICE_HOST", "10.96.0.7")
    monkeypatch.setenv("TILTH_SERVER_URL", "https://tilth.example.com")
    assert ServerSettings.from_environment() == ServerSettings()


def test_addresses_are_taken(monkeypatch):
    monkeypatch.setenv("TILTH_SERVER_PUBLIC_URL", "https://tilth.example.com:8443")
    monkeypatch.setenv("TILTH_SERVER_TRUSTED_PROXIES", "10.0.0.0/8,::1,*")
    assert ServerSettings.from_environment(workers=3).workers == 3
