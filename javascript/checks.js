// Tags that can't be used are underlined, and under the prompt stands why, with what may have been meant to click.
"use strict";

window.hypernet ??= {};

window.hypernet.checks = (function () {
    const WAIT = 400; // milliseconds without typing
    const states = new WeakMap(); // textarea -> {timer, asked, problems, lines, list}

    function later(textarea) {
        const state = states.get(textarea) ?? {timer: 0, asked: "", problems: [], lines: []};
        states.set(textarea, state);
        clearTimeout(state.timer);
        state.timer = setTimeout(() => check(textarea, state), WAIT);
        draw(textarea, state);
    }

    /** Asks the server, which knows the grammar and the files; nothing is asked for a prompt without tags. */
    async function check(textarea, state) {
        const text = textarea.value;
        if (!/<(hypernet|hypernetwork|hn)\b/i.test(text)) {
            state.problems = [];
        } else if (text !== state.asked) {
            state.problems = await hypernet.catalogue.send("check", {prompt: text}).catch(() => []);
        }
        state.asked = text;
        if (textarea.value === text) draw(textarea, state);
    }

    /** Lines under the tags, sentences under the prompt. A tag that was edited since loses its line at once. */
    function draw(textarea, state) {
        state.lines.forEach((line) => line.remove());
        const current = state.problems.filter(({start, end, text}) => textarea.value.slice(start, end) === text);
        state.lines = current.flatMap(({start, end}) => hypernet.places.of(textarea, start, end).map(underline));
        state.list ??= messages(textarea);
        state.list.replaceChildren(...current.map((problem) => message(textarea, problem)));
        state.list.hidden = !current.length;
        textarea.toggleAttribute("aria-invalid", Boolean(current.length));
    }

    function underline(rect) {
        const line = document.createElement("div");
        line.className = "hypernet-wrong";
        Object.assign(line.style, {
            left: `${rect.left + scrollX}px`, top: `${rect.bottom + scrollY - 3}px`, width: `${rect.width}px`,
        });
        document.body.append(line);
        return line;
    }

    function messages(textarea) {
        const list = document.createElement("ul");
        list.className = "hypernet-problems";
        list.setAttribute("aria-live", "polite");
        textarea.closest('[id$="_prompt"]').append(list);
        return list;
    }

    function message(textarea, {start, end, reason, suggestions}) {
        const line = document.createElement("li");
        line.append(reason);
        for (const {label, text} of suggestions) {
            const button = document.createElement("button");
            button.type = "button";
            button.textContent = hypernet.texts.say("did you mean", {name: label});
            button.addEventListener("click", () => hypernet.edit.replace(textarea, start, end, text));
            line.append(" ", button);
        }
        return line;
    }

    function redraw() {
        for (const tab of ["txt2img", "img2img", "control"]) {
            const textarea = hypernet.dialect.prompt(tab);
            if (textarea && states.has(textarea)) draw(textarea, states.get(textarea));
        }
    }

    function start() {
        document.addEventListener("input", (event) => {
            if (hypernet.dialect.promptTab(event.target)) later(event.target);
        });
        addEventListener("resize", redraw);
        document.addEventListener("scroll", redraw, {capture: true, passive: true});
        hypernet.catalogue.whenChanged(() => {
            for (const tab of ["txt2img", "img2img", "control"]) {
                const textarea = hypernet.dialect.prompt(tab);
                if (textarea?.value) later(textarea);
            }
        });
    }

    return {start};
})();
