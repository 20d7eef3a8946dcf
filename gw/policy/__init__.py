"""Rules on exchanges: one file each, with its Config, its build() and nothing else. base.py is the contract; remote.py asks others for several of them.

Not here: the order in which they run (that is what the operator wrote), and where they are attached (gw.runtime).
"""

from gw._fast.hooks import Refusal, Request, Response
from gw.policy.base import Challenge, Hooks, Kind, Need, Tools
from gw.policy.registry import BUILTIN, Policy, find

__all__ = ["BUILTIN", "Challenge", "Hooks", "Kind", "Need", "Policy", "Refusal", "Request", "Response", "Tools", "find"]
