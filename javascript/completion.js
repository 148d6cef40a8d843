// A list at the caret: names after `<hypernet:`, and behind the name what options there are and what each means.
// Where a1111-sd-webui-tagcomplete lists the names, only the options are ours.
"use strict";

window.hypernet ??= {};

window.hypernet.completion = (function () {
    const MOST = 12;
    const OPTIONS = ["start", "stop", "hr", "k", "v", "self", "cross", "lbw", "on"];
    let list = null;
    let open = null; // {textarea, start, end, items}
    let chosen = 0;

    /** What the text before the caret asks for: {kind: "name" | "option", typed, start}; null for nothing. */
    function wanted(before) {
        const from = before.lastIndexOf("<");
        if (from < 0 || before.length - from > 300 || before.indexOf(">", from) >= 0) return null;
        const inside = before.slice(from + 1).toLowerCase();
        if (inside && "hypernet:".startsWith(inside)) return {kind: "name", typed: "", start: from};
        if (!inside.startsWith("hypernet:")) return null;
        const parts = before.slice(from + 10).split(":");
        if (parts.length === 1) return {kind: "name", typed: parts[0], start: from};
        const typed = parts[parts.length - 1];
        return typed.includes("=") ? null : {kind: "option", typed, start: before.length - typed.length};
    }

    function names(typed) {
        const text = typed.trim().toLowerCase();
        const score = (network) => {
            const name = network.name.toLowerCase();
            const stem = name.split("/").pop();
            if (stem.startsWith(text)) return 0;
            if (name.includes(text)) return 1;
            return network.words.some((word) => word.toLowerCase().includes(text)) ? 2 : 3;
        };
        return hypernet.catalogue.all()
            .map((network) => [score(network), network])
            .filter(([rank, network]) => rank < 3 && !network.problem)
            .sort(([a, one], [b, other]) => a - b || Number(other.favourite) - Number(one.favourite))
            .slice(0, MOST)
            .map(([, network]) => ({label: network.name, hint: hint(network), preview: network.preview, network}));
    }

    const hint = (network) => [network.base === "unknown" ? "" : network.base, network.words.slice(0, 3).join(", ")]
        .filter(Boolean).join(" · ");

    function options(typed) {
        return OPTIONS.filter((key) => key.startsWith(typed.trim().toLowerCase()))
            .map((key) => ({label: `${key}=`, hint: hypernet.texts.say(`option.${key}`), option: key}));
    }

    function update(textarea) {
        const at = textarea.selectionStart;
        const asked = at === textarea.selectionEnd ? wanted(textarea.value.slice(0, at)) : null;
        const others = asked?.kind === "name" && listedElsewhere();
        const items = !asked || others ? [] : asked.kind === "name" ? names(asked.typed) : options(asked.typed);
        if (!items.length) return close();
        open = {textarea, start: asked.start, end: at, items};
        chosen = 0;
        show();
    }

    /** Whether another completion list shows names already. */
    function listedElsewhere() {
        const tagcomplete = typeof TAC_CFG !== "undefined" && TAC_CFG?.useHypernetworks;
        const lists = Array.from(document.body.children).filter((each) => each.classList.contains("autocompleteResults"));
        return tagcomplete || lists.some((list) => list.checkVisibility?.() ?? list.offsetParent);
    }

    function show() {
        if (!list) {
            list = document.createElement("ul");
            list.id = "hypernet_completion";
            list.setAttribute("role", "listbox");
            list.addEventListener("pointerdown", (event) => {
                const item = event.target.closest("li");
                if (item) accept(Number(item.dataset.index));
                event.preventDefault(); // the prompt keeps the focus
            });
            document.body.append(list);
        }
        list.setAttribute("aria-label", hypernet.texts.say("completion"));
        list.replaceChildren(...open.items.map(row));
        list.hidden = false;
        open.textarea.setAttribute("aria-controls", list.id);
        open.textarea.setAttribute("aria-expanded", "true");
        const [place] = hypernet.places.of(open.textarea, open.end, open.end);
        if (place) hypernet.places.put(list, place);
        choose(0);
    }

    function row(item, index) {
        const row = document.createElement("li");
        row.id = `hypernet_completion_${index}`;
        row.dataset.index = index;
        row.setAttribute("role", "option");
        if (item.preview) {
            const picture = document.createElement("img");
            Object.assign(picture, {src: item.preview, alt: "", loading: "lazy"});
            row.append(picture);
        }
        const label = document.createElement("b");
        label.textContent = item.label;
        const hint = document.createElement("span");
        hint.textContent = item.hint;
        row.append(label, hint);
        return row;
    }

    function choose(index) {
        chosen = (index + open.items.length) % open.items.length;
        Array.from(list.children).forEach((row, place) => row.setAttribute("aria-selected", String(place === chosen)));
        list.children[chosen].scrollIntoView({block: "nearest"});
        open.textarea.setAttribute("aria-activedescendant", list.children[chosen].id);
    }

    function accept(index) {
        const {textarea, start, end, items} = open;
        const item = items[index];
        close();
        if (item.option) return hypernet.edit.replace(textarea, start, end, item.label);
        const after = textarea.value.slice(end).match(/^[^<>\n]*>/)?.[0] ?? ""; // the rest of a tag that was there
        const rest = after.includes(":") ? after.slice(after.indexOf(":")) : null;
        const added = hypernet.prompt.additions(item.network.name);
        const words = added.words.filter((word) => !textarea.value.includes(word)).join(", ");
        const text = rest ? `<hypernet:${item.network.name}${rest}` : [added.tag, words].filter(Boolean).join(" ");
        hypernet.edit.replace(textarea, start, end + after.length, text);
    }

    function close() {
        if (!open) return;
        open.textarea.removeAttribute("aria-activedescendant");
        open.textarea.setAttribute("aria-expanded", "false");
        list.hidden = true;
        open = null;
    }

    function key(event) {
        if (!open || event.target !== open.textarea || event.isComposing) return;
        if (event.key === "ArrowDown") choose(chosen + 1);
        else if (event.key === "ArrowUp") choose(chosen - 1);
        else if (event.key === "Enter" || event.key === "Tab") accept(chosen);
        else if (event.key === "Escape") close();
        else return;
        event.preventDefault();
        event.stopImmediatePropagation();
    }

    /** Names, strengths and words for tagcomplete, where it is installed. */
    function feedTagcomplete() {
        if (typeof QUEUE_FILE_LOAD === "undefined" || typeof QUEUE_SANITIZE === "undefined") return;
        const fill = async () => {
            if (typeof hypernetworks === "undefined") return;
            hypernetworks = hypernet.catalogue.all().map(({name}) => [name, name.toLowerCase()]); // its global list
        };
        QUEUE_FILE_LOAD.push(fill);
        hypernet.catalogue.whenChanged(fill);
        QUEUE_SANITIZE.unshift((type, text) => {
            const isOurs = typeof ResultType !== "undefined" && type === ResultType.hypernetwork;
            if (!isOurs || !hypernet.catalogue.find(text)) return null;
            const {tag, words} = hypernet.prompt.additions(text);
            return [tag, words.join(", ")].filter(Boolean).join(" ");
        });
    }

    function start() {
        feedTagcomplete();
        document.addEventListener("keydown", key, true);
        document.addEventListener("input", (event) => {
            if (event.isTrusted && !event.isComposing && hypernet.dialect.promptTab(event.target)) update(event.target);
        });
        document.addEventListener("focusout", close);
        document.addEventListener("scroll", (event) => event.target !== list && close(), true);
    }

    return {options: OPTIONS, start, wanted};
})();
