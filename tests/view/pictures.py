"""Pictures of the page, where they are asked for."""

import os


def take_picture(page, name):
    """Keep a picture where the environment's SCREENSHOTS says."""
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        os.makedirs(folder, exist_ok=True)
        page.screenshot(path=os.path.join(folder, f"{name}.png"), full_page=True)
