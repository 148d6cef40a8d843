"""As much of gradio as the settings need, where it is not installed."""


class Radio:
    pass


Slider = Textbox = Radio


def Warning(text):
    print(text)
