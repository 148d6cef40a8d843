// Starts the browser's half: cards, completion, checks, the tag's settings. Each file here is one idea and hangs
// itself into the one global, `hypernet`.
"use strict";

window.hypernet ??= {};

(function () {
    const STEP = 0.05;

    /** Ctrl+Up and Ctrl+Down where the host's own keys fail: tags with options. */
    function nudge(event) {
        const textarea = event.target;
        const direction = {ArrowUp: 1, ArrowDown: -1}[event.key];
        if (!direction || !(event.ctrlKey || event.metaKey) || !hypernet.dialect.promptTab(textarea)) return;
        const at = textarea.selectionStart;
        const tag = hypernet.tag.at(textarea.value, at);
        const strength = hypernet.tag.number(tag?.strength || "1");
        if (!tag || strength === null || (!tag.options.length && strength >= 0)) return;
        event.preventDefault();
        event.stopImmediatePropagation();
        const step = hypernet.dialect.option("keyedit_precision_extra", STEP) || STEP;
        const changed = {...tag, strength: String(Number((strength + direction * step).toFixed(6)))};
        hypernet.edit.replace(textarea, tag.start, tag.end, hypernet.tag.print(changed), at);
    }

    function start() {
        document.addEventListener("keydown", nudge, true);
        const parts = ["prompt", "cards", "shelf", "menu", "completion", "checks", "popover", "tools", "train"];
        for (const part of parts) hypernet[part].start();
        hypernet.catalogue.refresh().catch(() => {}); // the cards then work as the host's own
    }

    // Also where the host defers scripts: all of ours have run by then.
    if (document.readyState === "complete") start();
    else document.addEventListener("DOMContentLoaded", start);
})();
