// Cards of the Hypernetworks tab: a click puts the tag into the prompt, the next takes all of it away; by mouse, by
// keyboard and by dragging. The host's own click serves until the list has come.
"use strict";

window.hypernet ??= {};

window.hypernet.cards = (function () {
    const BUTTONS = ".button-row, .actions-row, .details, .version-filter";
    const used = {}; // tab -> names in its prompt
    const carets = new WeakMap(); // prompt -> where its caret was last
    const byName = new Map(); // name -> its cards, on both tabs
    let typed = {text: "", at: 0};

    // What a card writes

    /** What a click adds: the tag, the words behind it and the words for the negative prompt. */
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
            const at = carets.get(prompt) ?? prompt.value.length;
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

    // What a card shows

    /** Tells every card that changed whether it is in its prompt. */
    function mark() {
        for (const container of hypernet.dialect.containers()) {
            const tab = hypernet.dialect.tabOf(container);
            const now = new Set(hypernet.tag.find(hypernet.dialect.prompt(tab)?.value ?? "").map((each) => each.name));
            const before = used[tab] ?? new Set();
            used[tab] = now;
            for (const name of new Set([...before, ...now])) {
                if (before.has(name) !== now.has(name)) cardsOf(name, container).forEach((card) => press(card, now.has(name)));
            }
        }
    }

    const cardsOf = (name, container) => (byName.get(name) ?? []).filter((card) => container.contains(card));

    function press(card, inside) {
        const facts = hypernet.catalogue.find(hypernet.dialect.nameOf(card));
        card.setAttribute("aria-pressed", String(inside));
        card.setAttribute("aria-label", hypernet.texts.say(inside ? "card.used" : "card", {
            name: hypernet.dialect.nameOf(card),
            base: facts?.base && facts.base !== "unknown" ? facts.base : hypernet.texts.say("base.unknown"),
        }));
    }

    /** New cards, after a refresh or when the page has come: what they lack for keyboard, screen reader and dragging. */
    function dress() {
        let fresh = false;
        for (const container of hypernet.dialect.containers()) {
            const first = container.querySelector(".card");
            if (!first || (first.hypernetDressed && container.hypernetCount === container.childElementCount)) continue;
            container.hypernetCount = container.childElementCount;
            fresh = true;
        }
        if (!fresh) return;
        byName.clear();
        for (const container of hypernet.dialect.containers()) {
            const names = used[hypernet.dialect.tabOf(container)] = new Set();
            let stop = true; // the first one is the container's only tab stop
            for (const card of container.querySelectorAll(".card")) {
                const name = hypernet.dialect.nameOf(card);
                byName.set(name, [...(byName.get(name) ?? []), card]);
                card.hypernetDressed = true;
                card.classList.add("hypernet-card");
                card.setAttribute("role", "button");
                card.tabIndex = stop ? 0 : -1;
                card.draggable = true;
                for (const picture of card.querySelectorAll("img")) picture.draggable = false;
                press(card, names.has(name));
                stop = false;
            }
        }
        mark();
        describe();
    }

    /** What the list tells: broken files, files for another model. */
    function describe() {
        for (const [name, cards] of byName) {
            const facts = hypernet.catalogue.find(name);
            if (!facts) continue;
            for (const card of cards) {
                card.classList.toggle("hypernet-broken", Boolean(facts.problem));
                card.classList.toggle("hypernet-other-base", facts.fits === false);
                press(card, card.getAttribute("aria-pressed") === "true");
                write(card, facts);
            }
        }
    }

    /** The line of facts, and what the host's search reads, which is hidden in the card. */
    function write(card, facts) {
        let line = card.querySelector(".hypernet-facts");
        if (!line) {
            line = document.createElement("span");
            line.className = "hypernet-facts";
            const terms = document.createElement("span");
            terms.className = "hidden search_terms";
            terms.textContent = [...facts.words, ...facts.tags, facts.notes, facts.activation ?? "", facts.base].join(" ");
            card.querySelector(".additional")?.append(terms);
            (card.querySelector(".name") ?? card).after(line);
        }
        line.textContent = facts.problem ?? summary(facts);
        card.title = facts.problem ?? "";
    }

    /** `SD1 · trained 20,000 steps · costs nothing · 84 MB` in the host's language. */
    function summary({base, steps, free, size, known}) {
        if (!known) return "…";
        const count = new Intl.NumberFormat(hypernet.dialect.language());
        return [
            base === "unknown" ? "" : base,
            steps ? hypernet.texts.say("trained", {steps: count.format(steps)}) : "",
            free ? hypernet.texts.say("free") : "",
            bytes(size),
        ].filter(Boolean).join(" · ");
    }

    const bytes = (size) => (size < 1e6 ? `${Math.max(Math.round(size / 1024), 1)} KB` : `${Math.round(size / 2 ** 20)} MB`);

    /** After a file was moved or converted: the page's own refresh button, then the list anew. */
    function reload(tab) {
        document.querySelector(`#${tab}_hypernetworks_extra_refresh, #${tab}_extra_refresh`)?.click();
        setTimeout(() => hypernet.catalogue.refresh(), 1000);
    }

    // What is done to a card

    const cardAt = (target) => target.closest?.(".hypernet-card");

    function click(event) {
        const card = cardAt(event.target);
        if (!card || event.target.closest(BUTTONS)) return;
        const name = hypernet.dialect.nameOf(card);
        const tab = hypernet.dialect.tabOf(card);
        const inside = used[tab]?.has(name);
        if (!hypernet.dialect.prompt(tab) || (!inside && !hypernet.catalogue.find(name))) return;
        event.preventDefault();
        event.stopImmediatePropagation();
        if (inside) remove(name, tab);
        else insert(name, tab, {words: !event.shiftKey, half: event.altKey, replace: event.ctrlKey || event.metaKey});
        mark();
        hypernet.texts.announce(hypernet.texts.say(inside ? "removed" : "added", {name}));
    }

    function key(event) {
        const card = event.target.classList?.contains("hypernet-card") ? event.target : null;
        if (!card) return;
        const moves = {
            ArrowRight: 1, ArrowLeft: -1, ArrowDown: "down", ArrowUp: "up", Home: "first", End: "last",
        };
        if (event.key === "Enter" || event.key === " ") card.dispatchEvent(clicked(event));
        else if (event.key === "F2") hypernet.dialect.edit(card);
        else if (event.key in moves && !event.ctrlKey && !event.altKey && !event.metaKey) move(card, moves[event.key]);
        else if (event.key.length === 1 && !event.ctrlKey && !event.altKey && !event.metaKey) jump(card, event.key);
        else return;
        event.preventDefault();
        event.stopPropagation();
    }

    function clicked({shiftKey, altKey, ctrlKey, metaKey}) {
        return new MouseEvent("click", {bubbles: true, cancelable: true, shiftKey, altKey, ctrlKey, metaKey});
    }

    const shown = (card) => Array.from(card.parentElement.children).filter((other) => other.offsetParent);

    function move(card, where) {
        const cards = shown(card);
        const at = cards.indexOf(card);
        const goal = {first: 0, last: cards.length - 1}[where] ?? (typeof where === "number" ? at + where : row(cards, at, where));
        focus(cards[goal]);
    }

    /** The card under or above: of the next row, the one that is nearest. */
    function row(cards, at, where) {
        const here = cards[at];
        const side = where === "down" ? cards.slice(at + 1) : cards.slice(0, at).reverse();
        const top = side.find((card) => card.offsetTop !== here.offsetTop)?.offsetTop;
        const line = side.filter((card) => card.offsetTop === top);
        line.sort((a, b) => Math.abs(a.offsetLeft - here.offsetLeft) - Math.abs(b.offsetLeft - here.offsetLeft));
        return cards.indexOf(line[0]);
    }

    /** To the next card whose name begins with what was typed within a second. */
    function jump(card, letter) {
        typed = {text: (Date.now() - typed.at < 1000 ? typed.text : "") + letter.toLowerCase(), at: Date.now()};
        const cards = shown(card);
        const from = cards.indexOf(card) + (typed.text.length === 1 ? 1 : 0);
        const names = (each) => hypernet.dialect.nameOf(each).split("/").pop().toLowerCase();
        focus([...cards.slice(from), ...cards.slice(0, from)].find((each) => names(each).startsWith(typed.text)));
    }

    function focus(card) {
        if (!card) return;
        card.parentElement.querySelector('.hypernet-card[tabindex="0"]')?.setAttribute("tabindex", "-1");
        card.tabIndex = 0;
        card.focus();
    }

    function drag(event) {
        const card = cardAt(event.target);
        if (!card) return;
        const added = additions(hypernet.dialect.nameOf(card), {words: !event.shiftKey});
        event.dataTransfer.effectAllowed = "copy";
        event.dataTransfer.setData("text/plain", [added.tag, added.words.join(", ")].filter(Boolean).join(" "));
    }

    function caret(event) {
        if (event.target.matches?.("textarea") && hypernet.dialect.promptTab(event.target)) {
            carets.set(event.target, event.target.selectionEnd);
        }
    }

    function start() {
        document.addEventListener("click", click, true);
        document.addEventListener("keydown", key, true);
        document.addEventListener("dragstart", drag, true);
        for (const name of ["keyup", "pointerup", "focusout", "select"]) document.addEventListener(name, caret, true);
        document.addEventListener("input", (event) => {
            caret(event);
            if (hypernet.dialect.promptTab(event.target)) mark();
        }, true);
        hypernet.catalogue.whenChanged(() => { dress(); describe(); });
        hypernet.dialect.whenChanged(() => { dress(); mark(); });
    }

    return {additions, insert, mark, reload, remove, start, withoutWords};
})();
