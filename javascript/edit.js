// Writing into a prompt: each change is one step of the browser's undo, and no completion list opens at it.
"use strict";

window.hypernet ??= {};

window.hypernet.edit = (function () {
    /** Puts `text` in place of what stands from `start` to `end`. The focus stays where it was. */
    function replace(textarea, start, end, text, caret = start + text.length) {
        if (textarea.value.slice(start, end) === text) return;
        const focused = document.activeElement;
        textarea.focus({preventScroll: true});
        if (document.activeElement === textarea) {
            typed(textarea, start, end, text);
        } else { // hidden: what is typed would land elsewhere
            textarea.value = textarea.value.slice(0, start) + text + textarea.value.slice(end);
        }
        textarea.dispatchEvent(new Event("input", {bubbles: true}));
        textarea.setSelectionRange(caret, caret);
        if (focused !== textarea && focused instanceof HTMLElement) focused.focus({preventScroll: true});
    }

    /** As if by keyboard: an assignment to `value` would wipe the undo history. */
    function typed(textarea, start, end, text) {
        const swallow = (event) => event.isTrusted && event.stopImmediatePropagation();
        document.addEventListener("input", swallow, {capture: true});
        textarea.setSelectionRange(start, end);
        document.execCommand(text ? "insertText" : "delete", false, text);
        document.removeEventListener("input", swallow, {capture: true});
    }

    /** Changes the whole text by the smallest single replacement that makes it so. */
    function change(textarea, text) {
        const before = textarea.value;
        let start = 0;
        while (start < Math.min(before.length, text.length) && before[start] === text[start]) start += 1;
        let same = 0;
        const most = Math.min(before.length, text.length) - start;
        while (same < most && before[before.length - 1 - same] === text[text.length - 1 - same]) same += 1;
        replace(textarea, start, before.length - same, text.slice(start, text.length - same));
    }

    return {replace, change};
})();
