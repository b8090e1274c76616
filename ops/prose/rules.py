"""The rules: a pattern for each wording or name that is not used here, and the advice that replaces it."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """`name` is how an exception refers to the rule. A space in `pattern` also matches a line break."""

    name: str
    pattern: re.Pattern[str]
    advice: str


def _rule(name: str, pattern: str, advice: str, *, exact_case: bool = False) -> Rule:
    flags = re.NOFLAG if exact_case else re.IGNORECASE
    return Rule(name, re.compile(pattern.replace(" ", r"\s+"), flags), advice)


#: Wordings, from the left column of the style's first table.
WORDINGS = (
    _rule("for ever", r"\bfor ever\b", "forever"),
    _rule("in vain", r"\bin vain\b", "without effect"),
    _rule("at hand", r"\bat hand\b", "current, or available"),
    _rule("such a one", r"\bsuch an? one\b", "one"),
    _rule("beforehand", r"\bbeforehand\b", "first, or in advance"),
    _rule("whoever", r"\bwh(?:o|om)ever\b", "name the actor"),
    _rule("whatever", r"\bwhatever\b", "any, regardless of, or name the thing"),
    _rule("let go of", r"\b(?:let|lets|letting) go of\b|Python's lock\b", "release, or the GIL"),
    _rule(
        "none that",
        r"\bnone that\b|(?<!there[ ])\b(?:is|are|was|were) none\b(?! of)",
        "say what it is",
        exact_case=True,
    ),
    _rule("takes and gives", r"\b(?:take|give)s? and (?:give|take)s?\b", "name the operations"),
    _rule("old adverb", r"\b(?:whence|thence|thereof|whereof|hitherto|lest|albeit)\b", "a modern word"),
    _rule(
        "be had",
        r"\b(?:can|cannot|could|may|must|to) (?:not )?be had\b|\b(?:has|have) what\b",
        "available, obtained, or there is",
    ),
    _rule("next tick", r"\bnext tick\b", "the next scheduler tick"),
    # A sentence that begins so and is no question has a clause as its subject.
    _rule(
        "what clause", r"\b(?:What|Who)\b(?![^.!?]*\?)", "begin with the thing or the actor", exact_case=True
    ),
    _rule("who clause", r"\b(?:leave|from|to|for|by|than|with)s? who\b|; who\b", "name the actor"),
)

#: Names, from the style's second table. They are not to be part of an identifier either.
NAMES = (
    _rule("stand-in", r"stand[-_ ]?ins?(?![a-z])", "placeholder model, or fake in a test"),
    _rule("beacon", r"beacon", "heartbeat"),
    _rule("wish", r"\bwish|_wish|[a-z]Wish|wishes", "request"),
    _rule("direct lane", r"direct[-_ ]?(?:lane|run)\b|\bthe lane\b", "inline"),
    _rule("elsewhere", r"elsewhere", "remote, on another machine, or name the place"),
    _rule("leash", r"\b_?leash", "parent-death signal"),
    _rule("weightiest", r"weightiest", "top-k, or largest"),
    _rule(
        "digest",
        r"(?:has|keeps|summary|batch|batch's|batches'|job's|a job)[-_ ]digest|digest_(?:bytes|arrays)|JobDigest|\.digests\b",
        "summary (the digest of a hash keeps its name)",
    ),
    _rule("intake", r"intake", "admission, or import"),
    _rule("envelope", r"envelope", "access log"),
    _rule("ending", r"\bEndings?\b|endings\b|_ending\b|\b(?:the|an|its|own) ending\b", "exit, or suffix", exact_case=True),
    _rule(
        "life",
        r"\b(?:(?:worker|process|program|appliance|supervisord)'s|present|earlier|next|former|another|killed|ended|this|each|a|its)"
        r" (?:life|lives)\b|\blife before\b|\b(?:worker|none) lives\b|[a-z._]lives\b|WorkerLi(?:fe|ves)",
        "process, run, or exit",
    ),
    _rule("lit", r"\blit\b|\bputs? out\b", "says what happens to the heartbeat: sent, removed, expired"),
    _rule("room", r"(?:storage|result)[-_ ]room", "capacity, or reservation"),
)  # fmt: skip

RULES = WORDINGS + NAMES
