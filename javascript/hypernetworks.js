// What the host's pages leave out for hypernetworks: cards work by keyboard and tell whether they are in the prompt,
// and tags with options or a negative strength can be clicked away and changed with Ctrl+Up and Ctrl+Down.
"use strict";

(function () {
    const CARDS = '[id*="_hypernetworks_cards"] .card';
    const TAG = /<hypernet:([^:>]+)(?::([^:>]*))?((?::[^>]*)?)>/g; // name, strength, options

    const options = () => (typeof opts === "undefined" ? {} : opts);
    const tab = (element) => (element.closest('[id^="img2img"]') ? "img2img" : "txt2img");
    const prompt = (name) => document.querySelector(`#${name}_prompt textarea`);
    const used = (text) => new Set([...text.matchAll(TAG)].map((tag) => tag[1].trim()));

    function write(textarea, text) {
        textarea.value = text;
        textarea.dispatchEvent(new Event("input", {bubbles: true}));
    }

    function without(text, name) {
        const separator = options().extra_networks_add_text_separator ?? " ";
        return text.replace(TAG, (tag, other) => (other.trim() === name ? "\0" : tag))
            .replaceAll(separator + "\0", "")
            .replaceAll("\0", "");
    }

    function mark() {
        const names = {};
        for (const card of document.querySelectorAll(CARDS)) {
            const textarea = prompt(tab(card));
            names[tab(card)] ??= used(textarea?.value ?? "");
            const inside = names[tab(card)].has(card.dataset.name);
            card.tabIndex = 0;
            card.setAttribute("role", "button");
            card.setAttribute("aria-label", `hypernetwork ${card.dataset.name}`);
            card.setAttribute("aria-pressed", String(inside));
        }
    }

    function click(event) {
        const card = event.target.closest?.(CARDS);
        const textarea = card && prompt(tab(card));
        if (!textarea || event.target.closest(".button-row")) return;
        if (used(textarea.value).has(card.dataset.name)) {
            event.stopImmediatePropagation(); // the host only finds tags that end with a plain number
            write(textarea, without(textarea.value, card.dataset.name));
        }
        setTimeout(mark);
    }

    function press(event) {
        const card = event.target.matches?.(CARDS) && event.target;
        if (card && (event.key === "Enter" || event.key === " ")) {
            event.preventDefault();
            card.click();
        } else if ((event.ctrlKey || event.metaKey) && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
            change(event);
        }
    }

    function change(event) {
        const textarea = event.target;
        if (!textarea.matches?.('[id$="_prompt"] textarea')) return;
        const at = textarea.selectionStart;
        const tag = [...textarea.value.matchAll(TAG)].find((tag) => tag.index < at && at < tag.index + tag[0].length);
        const strength = Number(tag?.[2] || 1);
        if (!tag?.[3] || Number.isNaN(strength)) return; // the host's own keys serve tags without options
        event.preventDefault();
        event.stopImmediatePropagation();
        const step = (options().keyedit_precision_extra || 0.05) * (event.key === "ArrowUp" ? 1 : -1);
        const changed = `<hypernet:${tag[1]}:${Number((strength + step).toFixed(6))}${tag[3]}>`;
        write(textarea, textarea.value.slice(0, tag.index) + changed + textarea.value.slice(tag.index + tag[0].length));
        textarea.setSelectionRange(at, at);
    }

    document.addEventListener("click", click, true);
    document.addEventListener("keydown", press, true);
    document.addEventListener("input", (event) => event.target.closest?.('[id$="_prompt"]') && mark(), true);
    (typeof onAfterUiUpdate === "function" ? onAfterUiUpdate : onUiUpdate)(mark);
})();
