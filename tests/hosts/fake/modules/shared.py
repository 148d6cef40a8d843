from types import SimpleNamespace


class OptionInfo:
    def __init__(self, default=None, label="", component=None, component_args=None):
        self.default, self.label, self.component, self.component_args = default, label, component, component_args
        self.section = (None, None)

    def info(self, text):
        self.label += f" ({text})"
        return self


class Options:
    def __init__(self):
        self.data, self.data_labels = {}, {}

    def __getattr__(self, key):
        if key in ("data", "data_labels"):
            raise AttributeError(key)
        if key in self.data:
            return self.data[key]
        if key in self.data_labels:
            return self.data_labels[key].default
        raise AttributeError(key)

    def get_default(self, key):
        return self.data_labels[key].default

    def add_option(self, key, info):
        self.data_labels[key] = info
        self.data.setdefault(key, info.default)


opts = Options()
opts.data_labels = {
    "sd_hypernetwork": OptionInfo("None"),  # never saved: not among the data
    "batch_cond_uncond": OptionInfo(True),
    "sd_checkpoints_limit": OptionInfo(1),
    "samples_format": OptionInfo("png"),
    "extra_networks_default_multiplier": OptionInfo(1.0),
}
cmd_opts = SimpleNamespace(hypernetwork_dir="", no_hashing=False)
state = SimpleNamespace(interrupted=False, server_command=None)
hypernetworks = {}
loaded_hypernetworks = []
sd_model = None
models = {}


def reload_hypernetworks():
    from modules.hypernetworks import hypernetwork

    globals()["hypernetworks"] = hypernetwork.list_hypernetworks(cmd_opts.hypernetwork_dir)
