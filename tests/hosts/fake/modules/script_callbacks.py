import inspect
import traceback
from types import SimpleNamespace

callback_map = {
    name: []
    for name in ("before_ui", "app_started", "infotext_pasted", "cfg_denoiser", "script_unloaded", "model_loaded")
}


def _register(name):
    def register(callback):
        caller = inspect.stack()[1].filename
        callback_map[name].append(SimpleNamespace(callback=callback, script=caller))

    return register


def call(name, *args):
    for each in callback_map[name]:
        try:
            each.callback(*args)
        except Exception:
            traceback.print_exc()


def clear_callbacks():
    for callbacks in callback_map.values():
        callbacks.clear()


def infotext_pasted_callback(text, params):
    call("infotext_pasted", text, params)


for _name in callback_map:
    globals()[f"on_{_name}"] = _register(_name)
