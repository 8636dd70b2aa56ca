from __future__ import annotations

from hypothesis import given, strategies as st

from tilth.client.scrubbed import scrubbed

PLAIN = {
    "PATH": "/bin",
    "HOME": "/home/ada",
    "LC_ALL": "C",
    "UV_INDEX_MINE_PASSWORD": "p",
    "XDG_CACHE_HOME": "/c",
}
HIDDEN = {
    "TILTH_API_KEY": "k",
    "TILTH_SERVER_DATABASE_URL": "postgresql://u:p@h/d",
    "AWS_SECRET_ACCESS_KEY": "s",
    "UV_PUBLISH_TOKEN": "t",
    "PYTHONPATH": "/evil",
    "LD_PRELOAD": "/evil.so",
}


def test_only_what_is_named_is_kept():
    assert scrubbed({**PLAIN, **HIDDEN}) == PLAIN


def test_an_operator_adds_by_name():
    assert scrubbed(HIDDEN, more=["AWS_SECRET_ACCESS_KEY"]) == {"AWS_SECRET_ACCESS_KEY": "s"}


def test_another_user_gets_nothing_of_the_runners_own():
    kept = scrubbed(PLAIN, another_user=True)
    assert kept == {"PATH": "/bin", "LC_ALL": "C", "UV_INDEX_MINE_PASSWORD": "p"}


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_no_key_of_a_server_or_client_is_ever_kept(variables):
    kept = scrubbed({**variables, **HIDDEN})
    assert not kept.keys() & HIDDEN.keys()
    assert kept.items() <= variables.items()
