import importlib.util
import inspect
import traceback
from types import SimpleNamespace

from modules import script_callbacks

AlwaysVisible = object()
scripts_data = []
scripts_txt2img = SimpleNamespace(alwayson_scripts=[])


class Script:
    def show(self, is_img2img):
        return True

    def before_process(self, p, *args):
        pass

    process = before_process

    def process_batch(self, p, *args, **kwargs):
        pass

    before_process_batch = postprocess_batch = process_batch

    def postprocess(self, p, processed, *args):
        pass

    def process_before_every_sampling(self, p, *args, **kwargs):
        pass


def load_scripts(files):
    """Executes each file anew, as the host does when its UI reloads."""
    script_callbacks.clear_callbacks()
    scripts_data.clear()
    scripts_txt2img.alwayson_scripts.clear()
    for file in files:
        spec = importlib.util.spec_from_file_location(file.name, file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        scripts_data.append(SimpleNamespace(module=module, path=str(file)))
        for value in vars(module).values():
            if inspect.isclass(value) and issubclass(value, Script) and value is not Script:
                scripts_txt2img.alwayson_scripts.append(value())


def call(name, *args, **kwargs):
    for script in scripts_txt2img.alwayson_scripts:
        try:
            getattr(script, name)(*args, **kwargs)
        except Exception:
            traceback.print_exc()
