"""What the operator writes: the structs of the model, loading them from files, and errors with file, line and column.

Not here: what a config means at run time (gw.runtime), matching (gw.router), the configs of single policies (gw.policy). Start with model.py.
"""

from gw.config.address import Address, Bind, parse_bind, parse_endpoint
from gw.config.convert import convert
from gw.config.document import Setting, reference, settings_of
from gw.config.json_schema import schema, schema_of
from gw.config.loading import Document, Loaded, check, from_url, is_cases, load, load_as, loads
from gw.config.model import Config, decode, encode
from gw.config.node import Position
from gw.config.policies import WrittenPolicy, policies_of, written_policies
from gw.config.ports import ports_in_use

__all__ = [
    "Address",
    "Bind",
    "Config",
    "Document",
    "Loaded",
    "Position",
    "Setting",
    "WrittenPolicy",
    "check",
    "convert",
    "decode",
    "encode",
    "from_url",
    "is_cases",
    "load",
    "load_as",
    "loads",
    "parse_bind",
    "parse_endpoint",
    "policies_of",
    "ports_in_use",
    "reference",
    "schema",
    "schema_of",
    "settings_of",
    "written_policies",
]
