"""One call, from the hook that asks to the answer that is kept."""
