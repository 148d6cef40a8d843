// The Tools page: a picture that is clicked among those found goes into the field for what to download.
"use strict";

window.hypernet ??= {};

window.hypernet.tools = (function () {
    function choose(event) {
        const card = event.target.closest?.("[data-hypernet-model]");
        const field = document.querySelector("#hypernet_get_model textarea, #hypernet_get_model input");
        if (!card || !field) return;
        for (const other of card.parentElement.children) other.setAttribute("aria-pressed", String(other === card));
        field.value = card.dataset.hypernetModel;
        field.dispatchEvent(new Event("input", {bubbles: true}));
    }

    return {start: () => document.addEventListener("click", choose)};
})();
