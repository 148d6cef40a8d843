"""What a host runs before it starts. Nothing is installed: the host has all that is needed, and this says if not."""

from importlib.util import find_spec

missing = [name for name in ("torch", "safetensors", "numpy", "gradio") if find_spec(name) is None]
if missing:
    print(f"Hypernetworks: this host lacks {', '.join(missing)}; without that the extension can't work.")
