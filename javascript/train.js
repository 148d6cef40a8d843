// Keeps the panel of the Train tab up to date while it is on the screen, and does what its buttons say.
"use strict";

window.hypernet ??= {};

window.hypernet.train = (function () {
    const PANEL = "./hypernet/v1/train/panel";
    const EVERY = 2000;
    let shown = "", busy = false;

    const panel = () => document.querySelector("#hypernet_train_panel");

    function show(html) {
        if (html === shown && panel().firstChild) return;
        shown = html;
        panel().innerHTML = html; // the server's, which escapes what users wrote
    }

    async function refresh() {
        if (busy || document.hidden || !panel()?.parentElement?.offsetParent) return;
        busy = true;
        try {
            const answer = await fetch(PANEL);
            if (answer.ok) show(await answer.text());
        } catch {
            // the WebUI is gone for a moment: the training isn't
        } finally {
            busy = false;
        }
    }

    async function act(event) {
        const button = event.target.closest?.("[data-hypernet-train]");
        if (!button) return;
        event.preventDefault();
        button.disabled = true;
        const body = JSON.stringify({training: button.dataset.hypernetTrain, action: button.dataset.action});
        const headers = {"Content-Type": "application/json"};
        const answer = await fetch(PANEL, {method: "POST", headers, body}).catch(() => null);
        if (answer?.ok) {
            show(await answer.text());
        } else {
            const said = document.createElement("p");
            said.textContent = (await answer?.json().catch(() => null))?.detail ?? "The WebUI does not answer.";
            button.parentElement.append(said);
            button.disabled = false;
        }
    }

    function start() {
        document.addEventListener("click", act);
        setInterval(refresh, EVERY);
    }

    return {start};
})();
