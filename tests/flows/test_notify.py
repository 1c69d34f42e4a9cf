"""A night is told to a block of Prefect, whatever comes of it."""

import logging
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from omni_batch.config import NotifyConfig
from omni_batch.nights import notify
from tests.conftest import ROOT
from tests.nights.test_limits import night
from tests.nights.test_notify import hook

pytestmark = pytest.mark.prefect
EMPTY: dict[str, Any] = {"headers": {}, "cookies": {}}


async def test_a_block_sends_the_words(
    prefect_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    from flows.secrets import tell_block

    with hook() as server:
        body = {"subject": "{{subject}}", "text": "{{body}}"}
        block = CustomWebhookNotificationBlock(
            name="night", url=server.url, json_data=body, allow_private_urls=True, **EMPTY
        )
        await block.save("operators", overwrite=True)
        who = NotifyConfig(block="custom-webhook/operators")
        told = night(failed_new=6, fail_above=5)
        await notify(who, told, tell_block=tell_block)
        server.status = 500
        await notify(who, night(), tell_block=tell_block)
    assert server.told[0] == {
        "subject": "omni-batch",
        "text": "\n".join((told.words, *told.to_do)),
    }
    (said,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert said.startswith("notify: block custom-webhook/operators was not told")


@pytest.mark.parametrize(
    ("block", "why"),
    [
        ("slack-webhook/gone", "gone"),
        ("no-such-kind/operators", "no-such-kind"),
        ("secret/operators", "it is not a block that notifies"),
    ],
)
async def test_a_block_that_can_not_tell_is_a_word_in_the_log(
    prefect_server: str, caplog: pytest.LogCaptureFixture, block: str, why: str
) -> None:
    from prefect.blocks.system import Secret

    from flows.secrets import tell_block

    await Secret(value=SecretStr("s3cret")).save("operators", overwrite=True)
    await notify(NotifyConfig(block=block), night(), tell_block=tell_block)
    (said,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert said.startswith(f"notify: block {block} was not told")
    assert why in said
    assert "s3cret" not in said


async def test_prefect_takes_the_automation_that_is_shipped(prefect_server: str) -> None:
    from prefect.client.orchestration import get_client
    from prefect.events.schemas.automations import AutomationCore

    tree = yaml.safe_load((ROOT / "configs" / "automation.yaml").read_text())
    async with get_client() as client:
        made = await client.create_automation(AutomationCore.model_validate(tree))
        kept = await client.find_automation(made)
        await client.delete_automation(made)
    assert kept is not None
    assert kept.enabled
