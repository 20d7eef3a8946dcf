import json
import subprocess
import sys
from pathlib import Path

import msgspec

from gw.config import model, reference, schema
from gw.config.document import PROTECTIONS

ROOT = Path(__file__).parents[3]
STRUCTS = [each for each in vars(model).values() if isinstance(each, type) and issubclass(each, msgspec.Struct) and each is not msgspec.Struct]


def test_the_reference_is_up_to_date():
    made = subprocess.run([sys.executable, "-W", "error", "-m", "gw.config.reference"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert made == reference()
    assert (ROOT / "docs" / "config.md").read_text() == made, "run `python -m gw.config.reference > docs/config.md`"


def test_the_schema_is_up_to_date():
    assert json.loads((ROOT / "schema" / "gw.schema.json").read_text()) == schema(), "run `gw schema > schema/gw.schema.json`"


def test_every_key_has_a_description():
    for struct in STRUCTS:
        for field in msgspec.structs.fields(struct):
            assert schema()["$defs"][struct.__name__]["properties"][field.encode_name].get("description"), f"{struct.__name__}.{field.name}"


def test_the_reference_lists_every_key():
    lines = reference().splitlines()
    for struct in STRUCTS:
        for field in msgspec.structs.fields(struct):
            assert any(line.startswith(f"| `{field.encode_name}` |") for line in lines), f"{struct.__name__}.{field.name}"


def test_links_of_the_reference_lead_somewhere():
    text = reference()
    headings = {"".join(letter for letter in line[3:].lower() if letter.isalnum() or letter in "-_") for line in text.splitlines() if line.startswith("## ")}
    links = {part.partition(")")[0] for part in text.split("](#")[1:]}
    assert links <= headings


def test_protective_defaults_are_those_of_the_design():
    text = reference()
    for key, default in {
        "limits.head": "`32KiB`",
        "limits.request_line": "`8KiB`",
        "limits.fields": "`100`",
        "client_timeouts.head": "`10s`",
        "client_timeouts.keep_alive": "`1m`",
        "timeouts.connect": "`5s`",
        "timeouts.answer": "`15s`",
        "timeouts.idle": "`30s`",
        "routes[].max_body": "`1MiB`",
        "admin": "bind `127.0.0.1:9901`",
    }.items():
        assert f"| `{key}` | {default} |" in text
    assert len({each.key for each in PROTECTIONS}) == len(PROTECTIONS)


def test_references_of_the_schema_resolve():
    made = schema()
    names = set(made["$defs"])
    used = {part.partition('"')[0] for part in json.dumps(made).split('"#/$defs/')[1:]}
    assert used == names
