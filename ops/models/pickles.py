"""Describes a Python pickle without loading it: loading would run its code."""

from __future__ import annotations

import pickletools
import re

#: How a pickle of protocol 0 or 1 begins: with a global, or with a dict or list.
_TEXT_PICKLE = re.compile(rb"c[\w.]+\n\w+\n|\([dl]p\d*\n|\(c[\w.]+\n")
#: An XGBoost class where joblib's arrays hide the opcodes that name it.
_NAMED = re.compile(rb"(xgboost\.(?:sklearn|core))\W{1,6}(XGB\w+|Booster)")
#: Names in the pickle of any object, besides the object's class.
_PLUMBING = ("copyreg", "copy_reg", "builtins", "__builtin__", "collections", "numpy", "joblib", "_codecs")
_SEARCHES = ("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV")


def is_pickle(content: bytes) -> bool:
    """Whether bytes begin as a pickle does."""
    return (content[:1] == b"\x80" and content[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}) or bool(
        _TEXT_PICKLE.match(content)
    )


def describe_pickle(content: bytes, file: str, *, compressed: bool) -> str:
    """Describe a pickle and how to save the XGBoost model in it; commands name `file`."""
    classes = classes_in(content)
    by_joblib = compressed or any(module.startswith("joblib") for module, _ in classes)
    library = "joblib" if by_joblib else "pickle"
    load = f"joblib.load({file!r})" if by_joblib else f'pickle.load(open({file!r}, "rb"))'
    what = f"{file} is a {library} file"
    named = [one for one in classes if one[0].partition(".")[0] not in _PLUMBING]
    models = [name for module, name in named if module.startswith("xgboost") and _is_model(name)]
    if not models:
        return _without_model(what, named)
    safe = (
        "It is not loaded here, since loading a pickle runs the code in it. Where the model was trained, run:"
    )
    module, name = named[0]
    if module.startswith("xgboost"):
        holds, save = f"holds an XGBoost {name}", 'model.save_model("model.ubj")'
    elif name == "Pipeline":
        holds = f"holds a scikit-learn Pipeline with an XGBoost {models[0]}"
        save = 'model[-1].save_model("model.ubj")'
    elif name in _SEARCHES:
        holds = f"holds a {name} of an XGBoost {models[0]}"
        save = 'model.best_estimator_.save_model("model.ubj")'
    else:
        return (
            f"{what} and holds an XGBoost {models[0]} inside a {module}.{name}. It is not loaded here, since loading a pickle "
            f"runs the code in it. Where the model was trained, load it, take the {models[0]} out, and call its "
            'save_model("model.ubj").'
        )
    return f"{what} and {holds}. {safe} import {library}; model = {load}; {save}. Then add model.ubj.{_beside(name)}"


def classes_in(content: bytes) -> list[tuple[str, str]]:
    """List the (module, name) of classes and functions in a pickle, in order, without loading."""
    texts: list[str] = []
    memo: dict[int, str | None] = {}
    found: list[tuple[str, str]] = []
    last: str | None = None
    try:
        for code, argument, _ in pickletools.genops(content):
            if code.name == "GLOBAL":
                module, _, name = str(argument).partition(" ")
                found.append((module, name))
            elif code.name == "STACK_GLOBAL" and len(texts) > 1:
                found.append((texts[-2], texts[-1]))
            elif code.name == "MEMOIZE":
                memo[len(memo)] = last
                continue
            elif code.name in {"BINPUT", "LONG_BINPUT", "PUT"}:
                memo[int(argument or 0)] = last
                continue
            last = memo.get(int(argument or 0)) if code.name in {"BINGET", "LONG_BINGET", "GET"} else None
            if "UNICODE" in code.name or "STRING" in code.name:
                last = str(argument)
            if last is not None:
                texts.append(last)
    except (ValueError, IndexError, UnicodeDecodeError, OverflowError, KeyError):  # an array of joblib's
        found += [(module.decode(), name.decode()) for module, name in _NAMED.findall(content)]
    return found


def _is_model(name: str) -> bool:
    return name == "Booster" or name.startswith("XGB")


def _without_model(what: str, named: list[tuple[str, str]]) -> str:
    if named:
        return f"{what} and holds a {'.'.join(named[0])}. Only models of XGBoost are served here."
    return f'{what} that names no XGBoost model. Save the model itself with model.save_model("model.ubj").'


def _beside(name: str) -> str:
    """Say what save_model leaves behind."""
    if name == "Booster":
        return ""
    if name == "Pipeline":
        return " Its features are the columns that the last step receives."
    return " If model.missing is a number, give it with --missing."
