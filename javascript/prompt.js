// What a network adds to a prompt, and how all of it is taken away again, whatever was edited meanwhile.
"use strict";

window.hypernet ??= {};

window.hypernet.prompt = (function () {
    const carets = new WeakMap(); // prompt -> where its caret was last

    /** What is added: the tag, the words behind it and the words for the negative prompt. */
    function additions(name, {words = true, half = false} = {}) {
        const facts = hypernet.catalogue.find(name);
        const strength = (facts?.strength ?? 1) * (half ? 0.5 : 1);
        return {
            tag: hypernet.tag.print({name, strength: hypernet.tag.short(strength), options: []}),
            words: words ? (facts?.words ?? []) : [],
            negative: words ? (facts?.negative ?? "") : "",
        };
    }

    function insert(name, tab, modifiers = {}) {
        const prompt = hypernet.dialect.prompt(tab);
        const added = additions(name, modifiers);
        const negative = hypernet.dialect.negative(tab); // first: the browser undoes the last edit, of whatever field
        if (negative && added.negative && !contains(negative.value, added.negative)) {
            hypernet.edit.change(negative, joined(negative.value, added.negative, ", "));
        }
        const missing = added.words.filter((word) => !contains(prompt.value, word));
        const text = [added.tag, missing.join(", ")].filter(Boolean).join(" ");
        if (modifiers.replace) {
            const without = stripped(prompt.value, hypernet.tag.find(prompt.value));
            hypernet.edit.change(prompt, joined(without, text));
        } else {
            const last = carets.get(prompt) ?? prompt.value.length;
            const at = hypernet.tag.at(prompt.value, last)?.end ?? last; // not into another tag
            const before = prompt.value.slice(0, at);
            const after = prompt.value.slice(at);
            const separator = before && !/\s$/.test(before) ? separating() : "";
            hypernet.edit.replace(prompt, at, at, separator + text + (after && !/^[\s,]/.test(after) ? " " : ""));
        }
        carets.set(prompt, prompt.selectionEnd);
    }

    /** Takes away every tag of the network, its words and its negative words, whatever else was edited meanwhile. */
    function remove(name, tab) {
        const prompt = hypernet.dialect.prompt(tab);
        const added = additions(name);
        const negative = hypernet.dialect.negative(tab);
        if (negative && added.negative) hypernet.edit.change(negative, withoutWords(negative.value, [added.negative]));
        const tags = hypernet.tag.find(prompt.value).filter((each) => each.name === name);
        hypernet.edit.change(prompt, withoutWords(stripped(prompt.value, tags), added.words));
    }

    /** The text without these tags, each with one separator before it. */
    function stripped(text, tags) {
        const separator = separating();
        return tags.reduceRight((rest, {start, end}) => {
            const before = rest.slice(0, start);
            const kept = before.endsWith(separator) ? before.slice(0, -separator.length) : before;
            return kept + rest.slice(end);
        }, text);
    }

    /** The text without these words where they stand between commas, line ends or the ends of the text. */
    function withoutWords(text, words) {
        return words.reduce((rest, word) => {
            const at = place(rest, word);
            if (at < 0) return rest;
            const before = rest.slice(0, at).replace(/,?[ \t]*$/, "");
            const after = rest.slice(at + word.length);
            return before ? before + after : after.replace(/^[,\s]+/, "");
        }, text);
    }

    const contains = (text, word) => place(text, word) >= 0;

    /** Where a word stands as a whole; -1 for nowhere. */
    function place(text, word) {
        for (let at = text.indexOf(word); word && at >= 0; at = text.indexOf(word, at + 1)) {
            const before = text[at - 1] ?? ",";
            const after = text[at + word.length] ?? ",";
            if (/[\s,>]/.test(before) && /[\s,<]/.test(after)) return at;
        }
        return -1;
    }

    const separating = () => hypernet.dialect.option("extra_networks_add_text_separator", " ");
    const joined = (text, more, separator = separating()) => (text.trim() ? text + separator + more : more);

    /** Remembers where the caret is: what is added later goes there. */
    function follow(event) {
        if (event.target.matches?.("textarea") && hypernet.dialect.promptTab(event.target)) {
            carets.set(event.target, event.target.selectionEnd);
        }
    }

    function start() {
        for (const name of ["keyup", "pointerup", "focusout", "select", "input"]) {
            document.addEventListener(name, follow, true);
        }
    }

    return {additions, insert, remove, start};
})();
