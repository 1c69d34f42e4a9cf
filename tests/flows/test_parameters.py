"""What Prefect takes as parameters of a flow, and what it refuses before there is a run."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.utilities.schema_tools.validation import is_valid

from flows.batch import batch
from flows.nightly import nightly
from flows.parameters import BudgetForm, NightChanges, QuotaForm, RunChanges, every_override
from omni_batch.config import Config, load_config, parse_config
from omni_batch.errors import ConfigError
from tests.config.support import MINIMAL

pytestmark = pytest.mark.prefect

CONFIG = "/srv/captions.yaml"


@pytest.fixture(scope="module")
def deployment(prefect_server: str) -> UUID:
    """Of the nightly flow, which nobody serves."""

    async def register() -> UUID:
        made = await nightly.ato_deployment(name="parameters", parameters={"config": CONFIG})
        return await made.aapply()

    return asyncio.run(register())


async def answer(deployment: UUID, parameters: dict[str, Any]) -> tuple[int, str, int]:
    """A server's to a wish for a run: status and words, and how many runs more there are."""
    async with get_client() as client:
        before = len(await client.read_flow_runs())
        try:
            await client.create_flow_run_from_deployment(deployment, parameters=parameters)
            status, words = 201, ""
        except PrefectHTTPStatusError as exc:
            status, words = exc.response.status_code, str(exc.response.json()["detail"])
        return status, words, len(await client.read_flow_runs()) - before


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"config": ""}, "'config'"),
        ({"changes": {"limit": 0}}, "'changes.limit'. Failure reason: 0 is less than the minimum"),
        ({"changes": {"limits": 5}}, "'limits' was unexpected"),
        ({"changes": {"fail_above": 1.5}}, "'changes.fail_above'"),
        ({"changes": {"budget": {"max_cost": "five"}}}, "an amount above 0, such as 5 USD"),
        ({"changes": {"budget": {"max_cost": "0 USD"}}}, "an amount above 0, such as 5 USD"),
        ({"changes": {"budget": {"month": {"max_answers": -1}}}}, "budget.month.max_answers"),
        ({"changes": {"quota": {"max_in_flight": 5000}}}, "maximum of 4096"),
        ({"changes": {"quota": {"adaptive": "maybe"}}}, "'maybe' is not one of [True, False]"),
        ({"changes": {"notify": "https://hooks.example.org/x"}}, "'notify' was unexpected"),
        ({"overrides": ["limit"]}, "anything but key=value"),
        ({"overrides": "limit=5"}, "is not of type 'array'"),
        ({"overrides": ["notify=https://hooks.example.org/x"]}, "parameters in clear text"),
        ({"overrides": ["manifest.path=s3://me:mine@host/x"]}, "parameters in clear text"),
    ],
)
def test_a_bad_value_is_refused_in_words_before_there_is_a_run(
    deployment: UUID, parameters: dict[str, Any], words: str
) -> None:
    status, said, runs = asyncio.run(answer(deployment, parameters))
    assert (status, runs) == (409, 0)
    assert words in said


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"overrides": ["limit=5", "request.prompt='Say {{ subject }} = {{ x }}.'"]},
        {"changes": {"limit": 5, "fail_above": 0.1, "budget": {"max_cost": 5}}},
        {"changes": {"budget": {"max_cost": "5 usd", "max_failure_rate": 1}, "quota": {}}},
        {"changes": {"limit": None, "quota": {"adaptive": False, "max_in_flight": 8}}},
    ],
)
def test_a_good_one_is_taken_and_read_by_the_flow(
    deployment: UUID, parameters: dict[str, Any]
) -> None:
    assert asyncio.run(answer(deployment, parameters)) == (201, "", 1)
    nightly.validate_parameters({"config": CONFIG, **parameters})


# --- the same rules as the config's ---


@pytest.mark.parametrize(
    "budget",
    [
        *({"max_cost": cost} for cost in (5, 0, -1, "5", " .5  cny ", "1e3", "5 EURO", "0.0 USD")),
        *({"max_failure_rate": share} for share in (0, 0.5, 1, 1.1)),
        *({"max_tokens": tokens} for tokens in (0, 1, 0.5)),
        *({"month": month} for month in ({"max_answers": 3}, {"max_answers": 0}, {"limit": 3})),
    ],
)
def test_the_form_takes_what_the_config_takes(budget: dict[str, Any]) -> None:
    try:
        parse_config({**MINIMAL, "budget": budget})
        good = True
    except ConfigError:
        good = False
    assert is_valid({"budget": budget}, NightChanges.model_json_schema()) is good


@pytest.mark.parametrize("share", [0, 5, 0.1, 1, 1.0, 1.5, -1, True])
def test_so_it_does_with_a_share_or_count_of_failures(share: Any) -> None:
    try:
        NightChanges(fail_above=share)
        good = True
    except ValueError:
        good = False
    if share != 1.0 or isinstance(share, int):  # JSON has one number for 1 and 1.0
        assert is_valid({"fail_above": share}, NightChanges.model_json_schema()) is good


@pytest.mark.parametrize("form", [RunChanges, NightChanges, BudgetForm, QuotaForm])
def test_each_field_is_described_and_begins_empty(form: type[RunChanges]) -> None:
    fields = form.model_json_schema()["properties"]
    assert fields.keys() == form.model_fields.keys()
    for field in fields.values():
        assert field["title"]
        assert field["description"]
        assert "default" not in field


# --- what they do ---


def test_changes_go_over_the_config_and_leave_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "night.yaml"
    path.write_text(
        "manifest: {path: rows.csv}\nlimit: 7\nfail_above: 5\n"
        "budget: {max_tokens: 100, month: {max_answers: 9}}\nquota: {adaptive: false}\n"
    )
    changes = NightChanges.model_validate(
        {"limit": None, "budget": {"max_cost": "5 usd", "month": {"max_tokens": 10**18}}}
    )
    changed = load_config(path, every_override(("limit=3", "name=one"), changes))
    assert changed == Config.model_validate(
        {
            "manifest": {"path": "rows.csv"},
            "name": "one",
            "limit": None,
            "fail_above": 5,
            "budget": {
                "max_tokens": 100,
                "max_cost": "5 USD",
                "month": {"max_answers": 9, "max_tokens": 10**18},
            },
            "quota": {"adaptive": False},
        }
    )


def test_no_changes_are_no_overrides() -> None:
    assert every_override((), NightChanges()) == []
    assert every_override((), NightChanges.model_validate({"budget": {}})) == []


def test_a_run_dir_takes_no_changes_which_would_change_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="or a run_dir alone"):
        asyncio.run(batch.fn(run_dir=str(tmp_path), overrides=("limit=3",)))
