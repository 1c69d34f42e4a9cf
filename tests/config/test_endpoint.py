"""Where requests go: a base_url is usable, or refused without repeating it."""

import pytest

from omni_batch.config import parse_config
from tests.config.support import refusal


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://host/v1?api_key=hush-hush", "a query"),
        ("https://host/v1#hush-hush", "fragment"),
        ("https://hush-hush@host/v1", "a user or password"),
        ("https://host/v1 hush-hush", "blanks"),
        ("https://host/hush-hush\0", "blanks"),
        ("https://höst/hush-hush", "ASCII"),
        ("https://host\\hush-hush", "backslashes"),
        ("http://", "host or port"),
        ("https:///hush-hush", "host or port"),
        ("http://[::1", "host or port"),
        ("http://[hush-hush]/v1", "host or port"),
        ("http://host:99999/hush-hush", "host or port"),
        ("http://host:0/hush-hush", "host or port"),
        ("http://host:hush-hush/", "host or port"),
        ("hush-hush://host", "http:// or https://"),
        ("", "http:// or https://"),
    ],
)
def test_a_base_url_that_is_none_is_refused_unseen(url: str, reason: str) -> None:
    message = refusal({"manifest": {"path": "x"}, "endpoint": {"base_url": url}})
    assert "endpoint.base_url" in message
    assert reason in message
    assert "hush-hush" not in message


@pytest.mark.parametrize(
    ("url", "used"),
    [
        ("HTTPS://Host/v1/", "https://Host/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("http://10.0.0.1", "http://10.0.0.1"),
    ],
)
def test_a_scheme_has_no_case_and_hosts_have_many_forms(url: str, used: str) -> None:
    config = parse_config({"manifest": {"path": "x"}, "endpoint": {"base_url": url}})
    assert config.endpoint.base_url == used
