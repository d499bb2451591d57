"""Whether prompts fit into the tokens that a text encoder reads, told before a model is loaded. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qnerf.backbones.model_parts import ModelFiles, tokenizer_problems


def prompt_problems(model: ModelFiles, prompts: Sequence[str], words: Mapping[str, int]) -> list[str]:
    """A sentence for each prompt that is longer than the text encoder reads. words: of textual inversions, with their vectors, each
    of which is a token."""
    limit = model.text.get("max_position_embeddings", 77)
    apart = {prompt: _without(prompt, words) for prompt in prompts}
    long = [prompt for prompt, (rest, more) in apart.items() if len(rest.encode()) + more > limit - 2]  # a token is at least a byte
    if not long or tokenizer_problems(model.tokenizer, model.text):
        return []
    from transformers import CLIPTokenizer  # a second, which only long prompts pay

    tokenizer = CLIPTokenizer.from_pretrained(str(model.tokenizer), local_files_only=True)
    counts = {prompt: len(tokenizer(apart[prompt][0], verbose=False).input_ids) + apart[prompt][1] for prompt in long}
    return [too_long(prompt, count, limit) for prompt, count in counts.items() if count > limit]


def _without(prompt: str, words: Mapping[str, int]) -> tuple[str, int]:
    """A prompt without these words, and the tokens that they are."""
    tokens = sum(prompt.count(word) * vectors for word, vectors in words.items())
    for word in words:
        prompt = prompt.replace(word, " ")
    return prompt, tokens


def too_long(prompt: str, count: int, limit: int) -> str:
    """What is said of a prompt of more tokens than are read."""
    return (
        f"the prompt {prompt[:40]!r}… has {count} tokens, but the model reads {limit}: shorten it (scene.source_prompt, "
        "scene.target_prompt)"
    )
