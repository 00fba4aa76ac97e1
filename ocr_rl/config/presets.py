"""How document models are asked for a page and what they answer in, as their makers document it: `model.preset`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ocr_verifiers.outputs.conversion import OutputFormat, check_output
from ocr_verifiers.text.suggestions import suggestion

PromptOrder = Literal["image_first", "text_first"]


@dataclass(frozen=True)
class PromptFormat:
    """How a model is asked for a page, and what it answers in."""

    preset: str = ""
    """The preset that this was; empty for none."""
    prompt: str = ""
    """The instruction for pages that have none."""
    prompt_order: PromptOrder = "image_first"
    system: str | None = None
    """A system message, which may be empty; None leaves it to the chat template."""
    longest_side: int = 0
    """Upper bound on the longer side of a fitted page, in pixels; 0: none."""
    output: OutputFormat = "markdown"
    end_tokens: tuple[str, ...] = ()
    """Tokens that end a completion beside those of the checkpoint."""
    chat_template: str = ""
    """For a checkpoint without one (Jinja)."""

    def messages(self, prompt: str = "") -> list[dict[str, Any]]:
        """The conversation that asks for a page, as chat templates take it; `prompt` goes before the format's own."""
        text = prompt or self.prompt
        content = [{"type": "image"}] + ([{"type": "text", "text": text}] if text else [])
        if self.prompt_order == "text_first":
            content.reverse()
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*system, {"role": "user", "content": content}]

    def __str__(self) -> str:
        """What a run says of it, on one line."""
        asked = " ".join(self.prompt.split())
        said = [f'prompt "{asked if len(asked) <= 48 else asked[:45] + "..."}"'] if asked else ["no prompt"]
        said += ["text before the image"] if asked and self.prompt_order == "text_first" else []
        said += [f"longest side {self.longest_side} px"] if self.longest_side else []
        return f"preset {self.preset or 'none'}: " + ", ".join([*said, f"output {self.output}"])


@dataclass(frozen=True)
class Preset:
    """The prompt format of a family of checkpoints, or one of several that it knows."""

    format: PromptFormat
    source: str
    """Where it is documented: a repository and a file, a model card, or a page of transformers."""
    model_types: tuple[str, ...] = ()
    """`model_type` of the checkpoints that `auto` takes it for; none where it has to be named."""
    names: tuple[str, ...] = ()
    """If given, one of these is part of the checkpoint's name, in lower case."""


_TRANSFORMERS = "documentation of transformers: "
_DOCLING = "docling-project/docling, docling/datamodel/vlm_model_specs.py"
_GLM = "zai-org/GLM-OCR, glmocr/config.yaml"
_LIGHTON = "lightonai/LightOnOCR, lightonocr/models.py and lightonocr/client.py"
_OLMOCR = (
    "Attached is one page of a document that you must process. Just return the plain text representation of this "
    "document as if you were reading it naturally. Convert equations to LateX and tables to HTML.\n"
    "If there are any figures or charts, label them with the following markdown syntax ![Alt text describing the "
    "contents of the figure](page_startx_starty_width_height.png)\n"
    "Return your output as markdown, with a front matter section on top specifying values for the primary_language, "
    "is_rotation_valid, rotation_correction, is_table, and is_diagram parameters."
)
_NANONETS = (
    "Extract the text from the above document as if you were reading it naturally. Return the tables in html format. "
    "Return the equations in LaTeX representation. If there is an image in the document and image caption is not "
    "present, add a small description of the image inside the <img></img> tag; otherwise, add the image caption inside "
    "<img></img>. Watermarks should be wrapped in brackets. Ex: <watermark>OFFICIAL COPY</watermark>. Page numbers "
    "should be wrapped in brackets. Ex: <page_number>14</page_number> or <page_number>9/22</page_number>. Prefer using "
    "☐ and ☑ for check boxes."
)
_GLM_PAGE = (
    "Recognize the text in the image and output in Markdown format. Preserve the original layout "
    "(headings/paragraphs/tables/formulas). Do not fabricate content that does not exist in the image."
)
_HUNYUAN = (
    "提取文档图片中正文的所有信息用markdown格式表示，其中页眉、页脚部分忽略，表格用html格式表达，"
    "文档中公式用latex格式表示，按照阅读顺序组织进行解析。"
)
_DEEPSEEK_TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
)
_GOT_TEMPLATE = (
    "<|im_start|>system\nYou should follow the instructions carefully and explain your answers in detail.<|im_end|>"
    "<|im_start|>user\n{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<img><imgpad></img>\n{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}<|im_end|><|im_start|>assistant{{ '\\n' }}"
)

PRESETS: tuple[Preset, ...] = (
    Preset(
        PromptFormat("olmocr-2", _OLMOCR, prompt_order="text_first", longest_side=1288, output="front_matter"),
        "allenai/olmocr, build_no_anchoring_v4_yaml_prompt of olmocr/prompts/prompts.py, and olmocr/pipeline.py",
        ("qwen2_5_vl",),
        ("olmocr-2",),
    ),
    Preset(
        PromptFormat("nanonets-ocr", _NANONETS, output="tags"),
        f"NanoNets/docstrange, docstrange/pipeline/nanonets_processor.py; {_DOCLING}",
        ("qwen2_5_vl", "qwen2_vl"),
        ("nanonets-ocr",),
    ),
    Preset(
        PromptFormat("lightonocr", longest_side=1540),
        _LIGHTON,
        ("lighton_ocr", "mistral3"),
        ("lightonocr",),
    ),
    Preset(PromptFormat("lightonocr-3", longest_side=2048), _LIGHTON, ("qwen3_5",), ("lightonocr-3",)),
    Preset(PromptFormat("paddleocr-vl", "OCR:"), f"{_TRANSFORMERS}paddleocr_vl", ("paddleocr_vl",)),
    Preset(PromptFormat("paddleocr-vl-table", "Table Recognition:", output="otsl"), f"{_TRANSFORMERS}paddleocr_vl"),
    Preset(PromptFormat("paddleocr-vl-formula", "Formula Recognition:"), f"{_TRANSFORMERS}paddleocr_vl"),
    Preset(PromptFormat("paddleocr-vl-chart", "Chart Recognition:"), f"{_TRANSFORMERS}paddleocr_vl"),
    Preset(PromptFormat("glm-ocr", "Text Recognition:"), f"{_TRANSFORMERS}glm_ocr; {_GLM}", ("glm_ocr",)),
    Preset(PromptFormat("glm-ocr-page", _GLM_PAGE), _GLM),
    Preset(PromptFormat("glm-ocr-table", "Table Recognition:"), _GLM),
    Preset(PromptFormat("glm-ocr-formula", "Formula Recognition:"), _GLM),
    Preset(
        PromptFormat("hunyuanocr", _HUNYUAN, system=""),
        "Tencent-Hunyuan/HunyuanOCR, doc_parse of inference/utils/tasks.py, and inference/vLLM/infer_vllm_client.py",
        ("hunyuan_vl",),
    ),
    Preset(
        PromptFormat("granite-docling", "Convert this page to docling.", output="doctags"),
        _DOCLING,
        ("idefics3",),
        ("docling",),
    ),
    Preset(
        PromptFormat(
            "deepseek-ocr-2",
            "<|grounding|>Convert the document to markdown.",
            output="grounding",
            chat_template=_DEEPSEEK_TEMPLATE,
        ),
        f"{_TRANSFORMERS}deepseek_ocr2",
        ("deepseek_ocr2",),
    ),
    Preset(
        PromptFormat("deepseek-ocr-2-free", "Free OCR.", chat_template=_DEEPSEEK_TEMPLATE),
        f"{_TRANSFORMERS}deepseek_ocr2",
    ),
    Preset(
        PromptFormat("got-ocr-2", " OCR with format: ", end_tokens=("<|im_end|>",), chat_template=_GOT_TEMPLATE),
        f"{_TRANSFORMERS}got_ocr2 (format=True)",
        ("got_ocr2",),
    ),
    Preset(
        PromptFormat("qwen3-vl", "Read all the text in the image."),
        "QwenLM/Qwen3-VL, README.md",
        ("qwen3_vl", "qwen3_vl_moe"),
        ("qwen3-vl",),
    ),
)

IN_SPECIAL_TOKENS: tuple[OutputFormat, ...] = ("doctags", "otsl", "grounding")
"""Formats whose markup may be special tokens, which are kept when completions are decoded."""


def recognised(model_type: str, names: Sequence[str]) -> PromptFormat | None:
    """The preset of a checkpoint of this `model_type` that goes by these names; the first name decides."""
    candidates = [preset for preset in PRESETS if model_type in preset.model_types]
    for name in names:
        for preset in candidates:
            if any(part in name.lower() for part in preset.names):
                return preset.format
    return next((preset.format for preset in candidates if not preset.names), None)


def named(name: str) -> PromptFormat:
    """The format of the preset of this name. Raises ValueError for an unknown one."""
    formats = {each.format.preset: each.format for each in PRESETS}
    if name not in formats:
        raise ValueError(f'unknown preset "{name}"; {suggestion(name, ["auto", "none", *formats])}')
    return formats[name]


def check_names(preset: str, output: str) -> None:
    """Raises ValueError for a preset or an output format that does not exist."""
    if preset not in ("auto", "none"):
        named(preset)
    if output != "auto":
        check_output(output)
