import html
import sys
from pathlib import Path

extra_pages = []
default_allowed_preview_extensions = ["png"]


def quote_js(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def register_page(page):
    extra_pages.append(page)


class ExtraNetworksPage:
    def __init__(self, title):
        self.title, self.name = title, title.lower()
        self.items = {}

    def search_terms_from_path(self, path):
        return Path(path).name

    def find_preview(self, stem):
        return None

    find_description = find_preview

    def get_sort_keys(self, path):
        return {"name": Path(path).name.lower()}

    def create_item_html(self, tabname, item, template=None):
        return (
            f'<div data-name="{html.escape(item["name"])}" onclick="{html.escape(item["prompt"])}" '
            f'data-path="{item["filename"]}"><span class="description"></span></div>'
        )

    def create_html(self, tabname):
        self.items = {item["name"]: item for item in self.list_items()}
        return "".join(self.create_item_html(tabname, item, "template") for item in self.items.values())


class UserMetadataEditor:
    def __init__(self, ui, tabname, page):
        self.page = page


ui_extra_networks_user_metadata = sys.modules[__name__]
