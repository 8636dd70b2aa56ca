"""What admins see of the server itself."""

from __future__ import annotations

from datetime import timedelta

from tilth import __version__
from tilth.records import now
from tilth.server.api.admin import shown
from tilth.server.condition import Condition, Disk, Facts, Queued, Runners, notices
from tilth.server.settings import ServerSettings

MOMENT = now()


def facts(**given):
    told = {
        "disk": Disk("/data", 80 << 30, 100 << 30),
        "queue": Queued(0, None),
        "runners": Runners(1, 0, 2, 0),
        "url": "https://tilth.example.com",
        "secure": True,
        "loopback": False,
        "database_ms": 1.0,
    }
    return Facts(**{**told, **given})


def test_every_setting_is_told_and_no_secret(admin, log_in):
    status, told = admin.get("/server/settings")
    assert status == 200
    items = {each["name"]: each for each in told["items"]}
    assert items.keys() == set(ServerSettings.__dataclass_fields__)
    assert items["port"]["variable"] == "TILTH_SERVER_PORT"
    assert not items["port"]["given"]
    assert items["schedules"] == items["schedules"] | {"value": "false", "given": True, "secret": False}
    assert all(each["meaning"] for each in items.values())
    hidden = ServerSettings(admin_password="an apple a day", database_url="postgresql://a:b@c/d")
    told = shown(hidden)
    assert "an apple" not in str(told)
    assert "a:b" not in str(told)
    values = {each.name: each.value for each in told.items}
    assert (values["admin_password"], values["database_url"], values["metrics_token"]) == (
        "(hidden)",
        "(hidden)",
        "",
    )
    assert log_in("eve").get("/server/settings")[0] == 403


def test_health_tells_of_database_disk_queue_and_runners(admin, log_in):
    status, told = admin.get("/server/health")
    assert status == 200, told
    assert told["version"] == __version__
    assert told["database"]["kind"] == "sqlite"
    assert told["database"]["size"] > 0
    assert told["disk"]["total"] >= told["disk"]["free"] > 0
    assert told["queue"] == {"waiting": 0, "since": None}
    assert told["runners"] == {"here": 0, "away": 0, "slots": 0, "busy": 0}
    assert log_in("eve").get("/server/health")[0] == 403


def test_a_server_that_is_well_has_nothing_to_be_looked_after():
    assert notices(facts(), MOMENT) == []
    assert notices(facts(disk=Disk("/data", 0, 0)), MOMENT) == []  # that cannot be told is no trouble
    assert notices(facts(disk=Disk("/data", 60 << 30, 10_000 << 30)), MOMENT) == []
    assert notices(facts(queue=Queued(1, MOMENT - timedelta(seconds=30))), MOMENT) == []


def test_what_should_be_looked_after_is_told_the_worst_first():
    waits = Queued(3, MOMENT - timedelta(minutes=9))
    found = notices(
        facts(
            disk=Disk("/data", 5 << 30, 100 << 30),
            queue=waits,
            runners=Runners(0, 2, 0, 0),
            database_ms=900.0,
        ),
        MOMENT,
    )
    assert [each.level for each in found] == [Condition.BAD, Condition.WARNING, Condition.WARNING]
    assert found[0].what == "3 runs cannot be started: no runner is here"
    assert found[1].what == "5 % of the disk is free for artifacts and logs"
    (only,) = notices(facts(disk=Disk("/data", 1 << 30, 100 << 30)), MOMENT)
    assert only.level is Condition.BAD
    (full,) = notices(facts(queue=waits, runners=Runners(1, 0, 2, 2)), MOMENT)
    assert full.what == "a run has waited 9 minutes for a runner"
    assert "as many runs as they take" in full.why
    (none,) = notices(facts(queue=waits), MOMENT)
    assert "none of those" in none.why
    (plain,) = notices(facts(secure=False, url="http://tilth"), MOMENT)
    assert "unencrypted" in plain.what
    assert notices(facts(secure=False, loopback=True), MOMENT) == []
