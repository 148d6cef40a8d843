// What differs between the pages of A1111's family, SD.Next and our own app: where the prompts and cards are.
"use strict";

window.hypernet ??= {};

window.hypernet.dialect = (function () {
    const TABS = ["txt2img", "img2img", "control", "video"];
    const CONTAINERS = TABS.flatMap((tab) => [`${tab}_hypernetworks_cards`, `${tab}_hypernetwork_cards`]);
    const CARDS = CONTAINERS.map((id) => `#${id}`).join(",");

    const option = (key, fallback) => (typeof opts === "undefined" ? undefined : opts[key]) ?? fallback;
    const prompt = (tab) => document.querySelector(`#${tab}_prompt textarea`);
    const negative = (tab) => document.querySelector(`#${tab}_neg_prompt textarea`);
    // By their ids: a selector would look at each of a hundred thousand elements, at every key.
    const containers = () => CONTAINERS.map((id) => document.getElementById(id)).filter(Boolean);
    const visible = (element) => Boolean(element?.offsetParent);

    /** The tab whose prompt is on the screen. */
    function tab() {
        return TABS.find((name) => visible(prompt(name))) ?? "txt2img";
    }

    /** The tab that an element belongs to. */
    function tabOf(element) {
        const inside = element.closest(TABS.map((name) => `[id^="${name}_"]`).join(","));
        return TABS.find((name) => inside?.id.startsWith(`${name}_`)) ?? tab();
    }

    /** The card's name; A1111's family and SD.Next keep it in different places. */
    const nameOf = (card) => card.dataset.name ?? card.dataset.short ?? "";

    /** Whether an element is a prompt of ours to read. */
    function promptTab(element) {
        return TABS.find((name) => prompt(name) === element) ?? null;
    }

    /** Opens the host's editor of a card. */
    function edit(card) {
        const button = card.querySelector(".edit-button, .details");
        button?.click();
        return Boolean(button);
    }

    /** `en`, `ko`, `ja`, `zh-Hans` or `zh-Hant`: the host's own setting, else the browser's. */
    function language() {
        const chosen = option("localization") || option("ui_locale") || "";
        const wanted = chosen && !/^(none|auto)$/i.test(chosen) ? chosen : navigator.language;
        if (/^ko/i.test(wanted)) return "ko";
        if (/^ja/i.test(wanted)) return "ja";
        if (/^zh.*(hant|tw|hk)/i.test(wanted)) return "zh-Hant";
        return /^zh/i.test(wanted) ? "zh-Hans" : "en";
    }

    /** Calls back when the page is there, and again whenever the host changed it. */
    function whenChanged(callback) {
        (typeof onAfterUiUpdate === "function" ? onAfterUiUpdate : onUiUpdate)(callback);
    }

    return {CARDS, containers, edit, language, nameOf, negative, option, prompt, promptTab, tab, tabOf, whenChanged};
})();
