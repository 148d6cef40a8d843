"""How the demo model and its hypernetworks are made; `tools/train_demo.py` is the door."""
