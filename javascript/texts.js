// Every sentence of the browser's half, in the host's language. Whole sentences; names and numbers are put in by `say`.
"use strict";

window.hypernet ??= {};

window.hypernet.texts = (function () {
    const LANGUAGES = ["en", "ko", "ja", "zh-Hans", "zh-Hant"];
    const TABLE = {
        "card": ["{name}, {base}", "{name}, {base}", "{name}、{base}", "{name}，{base}", "{name}，{base}"],
        "card.used": [
            "{name}, {base}, in the prompt", "{name}, {base}, 프롬프트에 있음", "{name}、{base}、プロンプトにあり",
            "{name}，{base}，已在提示词中", "{name}，{base}，已在提示詞中",
        ],
        "base.unknown": ["base unknown", "베이스 모델 알 수 없음", "ベース不明", "底模未知", "底模未知"],
        "added": [
            "{name} is in the prompt.", "{name}을(를) 프롬프트에 넣었습니다.", "{name} をプロンプトに入れました。",
            "已将 {name} 加入提示词。", "已將 {name} 加入提示詞。",
        ],
        "removed": [
            "{name} is out of the prompt.", "{name}을(를) 프롬프트에서 뺐습니다.", "{name} をプロンプトから外しました。",
            "已从提示词移除 {name}。", "已從提示詞移除 {name}。",
        ],
        "trained": [
            "trained {steps} steps", "{steps}스텝 학습", "{steps} ステップ学習", "训练 {steps} 步", "訓練 {steps} 步",
        ],
        "free": ["costs nothing", "속도 저하 없음", "速度に影響なし", "不影响速度", "不影響速度"],
        "completion": ["Hypernetworks", "하이퍼네트워크", "ハイパーネットワーク", "超网络", "超網路"],
        "option.start": [
            "acts only from here", "여기부터 적용", "ここから効く", "从这里开始生效", "從這裡開始生效",
        ],
        "option.stop": ["acts only up to here", "여기까지만 적용", "ここまで効く", "到这里为止生效", "到這裡為止生效"],
        "option.hr": [
            "strength in the hires pass", "고해상도 단계의 강도", "高解像度パスの強さ", "高清修复时的强度", "高清修復時的強度",
        ],
        "option.k": [
            "factor on what the attention looks for", "주목할 곳(K)에 곱하는 값", "注目先（K）への倍率",
            "注意力键（K）的倍率", "注意力鍵（K）的倍率",
        ],
        "option.v": [
            "factor on what the attention takes", "가져올 내용(V)에 곱하는 값", "取り込む内容（V）への倍率",
            "注意力值（V）的倍率", "注意力值（V）的倍率",
        ],
        "option.self": [
            "factor on the picture's own attention", "그림 자체의 주목에 곱하는 값", "絵どうしの注目への倍率",
            "画面自注意力的倍率", "畫面自注意力的倍率",
        ],
        "option.cross": [
            "factor on the attention to the text", "문장에 대한 주목에 곱하는 값", "文への注目への倍率",
            "文本交叉注意力的倍率", "文字交叉注意力的倍率",
        ],
        "option.lbw": [
            "factors for the blocks", "블록별 배율", "ブロックごとの倍率", "各区块的倍率", "各區塊的倍率",
        ],
        "option.on": [
            "only the positive or the negative prompt", "긍정 또는 부정 프롬프트에만", "肯定または否定プロンプトだけ",
            "仅正向或仅负向提示词", "僅正向或僅負向提示詞",
        ],
        "popover": [
            "Settings of {name}", "{name} 설정", "{name} の設定", "{name} 的设置", "{name} 的設定",
        ],
        "strength": ["Strength", "강도", "強さ", "强度", "強度"],
        "range": [
            "useful from {low} to {high}", "권장 {low} ~ {high}", "おすすめ {low}～{high}", "建议 {low} 到 {high}", "建議 {low} 到 {high}",
        ],
        "range.outside": [
            "outside the useful range, {low} to {high}", "권장 범위 {low} ~ {high} 밖입니다", "おすすめの範囲 {low}～{high} の外です",
            "超出建议范围 {low} 到 {high}", "超出建議範圍 {low} 到 {high}",
        ],
        "schedule": ["Over the run", "진행에 따라", "描画の進みに沿って", "随步数变化", "隨步數變化"],
        "schedule.point": [
            "point {number}: strength {value} at {position} of the run", "점 {number}: 진행 {position}에서 강도 {value}",
            "点 {number}：進み {position} で強さ {value}", "第 {number} 点：进度 {position} 时强度 {value}",
            "第 {number} 點：進度 {position} 時強度 {value}",
        ],
        "schedule.add": ["Add a point", "점 추가", "点を追加", "添加控制点", "新增控制點"],
        "schedule.flat": ["One strength", "하나의 강도", "一定の強さ", "恒定强度", "固定強度"],
        "blocks": ["Blocks", "블록", "ブロック", "区块", "區塊"],
        "block": ["block {name}: {value}", "블록 {name}: {value}", "ブロック {name}：{value}", "区块 {name}：{value}", "區塊 {name}：{value}"],
        "more": ["More", "더 보기", "その他", "更多", "更多"],
        "remove": ["Remove", "제거", "外す", "移除", "移除"],
        "done": ["Done", "완료", "完了", "完成", "完成"],
        "handle": [
            "Change {name} (Alt+Enter)", "{name} 바꾸기 (Alt+Enter)", "{name} を変える（Alt+Enter）",
            "调整 {name}（Alt+Enter）", "調整 {name}（Alt+Enter）",
        ],
        "did you mean": ["Did you mean {name}?", "{name}을(를) 찾으셨나요?", "{name} のことですか？", "您是否想输入 {name}？", "您是否想輸入 {name}？"],
        "why": ["Why does it do nothing?", "왜 효과가 없나요?", "なぜ効かないの？", "为什么没有效果？", "為什麼沒有效果？"],
        "strip": ["Draw at five strengths", "강도 다섯 가지로 그리기", "5つの強さで描く", "以五种强度绘制", "以五種強度繪製"],
        "favourite": ["Favourite", "즐겨찾기", "お気に入り", "收藏", "收藏"],
        "first": [
            "Favourites and recent ones first", "즐겨찾기와 최근 사용을 먼저", "お気に入りと最近使ったものを先に",
            "收藏和最近使用的排在前面", "收藏和最近使用的排在前面",
        ],
        "menu.add": ["Put into the prompt", "프롬프트에 넣기", "プロンプトに入れる", "加入提示词", "加入提示詞"],
        "menu.no words": [
            "Put in without its words", "단어 없이 넣기", "言葉なしで入れる", "加入（不带触发词）", "加入（不帶觸發詞）",
        ],
        "menu.half": [
            "Put in at half strength", "절반 강도로 넣기", "半分の強さで入れる", "以一半强度加入", "以一半強度加入",
        ],
        "menu.replace": [
            "Put in instead of the others", "다른 것 대신 넣기", "ほかのものと入れ替える", "替换其他超网络", "取代其他超網路",
        ],
        "menu.unfavourite": [
            "No favourite any more", "즐겨찾기 해제", "お気に入りから外す", "取消收藏", "取消收藏",
        ],
        "menu.edit": ["Edit…", "편집…", "編集…", "编辑…", "編輯…"],
        "hide others": [
            "Hide files made for other models", "다른 모델용 파일 숨기기", "他のモデル用のファイルを隠す",
            "隐藏不适用于当前模型的文件", "隱藏不適用於目前模型的檔案",
        ],
    };

    /** The sentence in the host's language, in English where it has none; `{name}` is replaced by values.name. */
    function say(key, values = {}) {
        const row = TABLE[key];
        if (!row) return key;
        const text = row[LANGUAGES.indexOf(hypernet.dialect.language())] ?? row[0];
        return text.replace(/\{(\w+)\}/g, (hole, name) => values[name] ?? hole);
    }

    /** Reads a sentence to those who use a screen reader. */
    function announce(text) {
        let line = document.getElementById("hypernet_live");
        if (!line) {
            line = document.createElement("div");
            line.id = "hypernet_live";
            line.setAttribute("aria-live", "polite");
            document.body.append(line);
        }
        line.textContent = text;
    }

    return {LANGUAGES, TABLE, announce, say};
})();
