"""
Not a part of concmem: what ``import concmem`` finds from the folder that holds this checkout, if that is named concmem.

Without this file Python would make an empty package of the checkout, before it asks an editable installation. This
imports the concmem that is installed, else the one in the checkout, else says that there is none.
"""

if __name__ == "concmem":
    import importlib.util
    import os
    import sys

    _checkout = os.path.dirname(os.path.abspath(__file__))
    _inner = os.path.join(_checkout, "concmem")
    _path = [_folder for _folder in sys.path if os.path.realpath(_folder) != os.path.dirname(_checkout)]
    _specs = (_finder.find_spec(__name__, _path) for _finder in sys.meta_path)
    _spec = next((_spec for _spec in _specs if _spec is not None and _spec.loader is not None), None)
    if _spec is None:
        _file = os.path.join(_inner, "__init__.py")
        _spec = importlib.util.spec_from_file_location(__name__, _file, submodule_search_locations=[_inner])
    assert _spec is not None and _spec.loader is not None
    # The import system returns what is in sys.modules when this file has been executed.
    sys.modules[__name__] = importlib.util.module_from_spec(_spec)
    try:
        _spec.loader.exec_module(sys.modules[__name__])
        if _spec.origin == os.path.join(_inner, "__init__.py"):
            sys.modules[__name__].Measurement  # noqa: B018 fails if what an installation brings is missing
    except ModuleNotFoundError as _error:
        raise ModuleNotFoundError(
            f"concmem is not installed for {sys.executable} ({_error}); to install it: pip install {_checkout}",
            name=_error.name,
            path=_error.path,
        ) from _error
