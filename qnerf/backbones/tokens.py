"""Whether prompts fit into the tokens that a text encoder reads, told before a model is loaded. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence

from qnerf.backbones.model_parts import ModelFiles, tokenizer_problems


def prompt_problems(model: ModelFiles, prompts: Sequence[str], embeddings: bool) -> list[str]:
    """A sentence for each prompt that is longer than the text encoder reads. embeddings: there are tokens that only the loaded
    model knows, so that it counts them itself."""
    limit = model.text.get("max_position_embeddings", 77)
    long = [prompt for prompt in prompts if len(prompt.encode()) > limit - 2]  # a token is at least a byte
    if not long or embeddings or tokenizer_problems(model.tokenizer, model.text):
        return []
    from transformers import CLIPTokenizer  # a second, which only long prompts pay

    tokenizer = CLIPTokenizer.from_pretrained(str(model.tokenizer), local_files_only=True)
    counts = {prompt: len(tokenizer(prompt, verbose=False).input_ids) for prompt in long}
    return [too_long(prompt, count, limit) for prompt, count in counts.items() if count > limit]


def too_long(prompt: str, count: int, limit: int) -> str:
    """What is said of a prompt of more tokens than are read."""
    return (
        f"the prompt {prompt[:40]!r}… has {count} tokens, but the model reads {limit}: shorten it (scene.source_prompt, "
        "scene.target_prompt)"
    )
