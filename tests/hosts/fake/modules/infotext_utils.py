import re


def parse_generation_parameters(text):
    prompt, _, last = text.rpartition("\n")
    params = {key.strip(): value.strip('"') for key, value in re.findall(r'\s*([\w ]+): ("[^"]*"|[^,]*)(?:,|$)', last)}
    params["Prompt"] = prompt
    if "Hypernet" in params:
        params["Prompt"] += f"<hypernet:{params['Hypernet']}:{params.get('Hypernet strength', '1.0')}>"
    return params
