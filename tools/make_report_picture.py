"""Make docs/report.png from a study's report.html: parts of the page, side by side.

    python tools/make_report_picture.py STUDY [docs/report.png]

Needs Playwright and Chromium. No image of the data set is in the picture: the panel is shown with a drawing.
"""

import io
import shutil
import sys
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from playwright.sync_api import sync_playwright

WIDTH, GAP = 1000, 28


def draw_boat() -> bytes:
    """A sailing boat on the sea, 320x320, as a PNG file."""
    image = Image.new("RGB", (320, 320), (150, 190, 225))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 215, 320, 320), fill=(40, 85, 130))
    draw.polygon([(60, 205), (270, 205), (235, 250), (95, 250)], fill=(110, 60, 40))
    draw.polygon([(160, 45), (160, 195), (75, 195)], fill=(245, 245, 240))
    draw.polygon([(170, 70), (170, 195), (245, 195)], fill=(230, 225, 215))
    draw.line((165, 40, 165, 205), fill=(60, 45, 35), width=6)
    file = io.BytesIO()
    image.save(file, format="png")
    return file.getvalue()


def photograph(page: Any) -> list[list[Image.Image]]:
    """The parts of the picture, column by column."""
    boat = {"name": "boat.png", "mimeType": "image/png", "buffer": draw_boat()}
    page.set_input_files("#try-file", files=boat)
    page.locator("#try-permute").fill("15")
    page.locator("#try-sample", has_text="drawn at random").wait_for()
    # The strip of test images is left out, and the bar at the top would lie over the parts.
    page.add_style_tag(content="header, #try .source, .controls { display: none !important }")
    columns = [["#verdict", "#curves"], ["#classes .two", "#confusion-tables", "#try-panel"]]
    return [
        [Image.open(io.BytesIO(page.locator(part).screenshot())) for part in column] for column in columns
    ]


def put_together(columns: list[list[Image.Image]]) -> Image.Image:
    height = max(sum(part.height + GAP for part in column) for column in columns) + GAP
    picture = Image.new("RGB", (len(columns) * (WIDTH + GAP) + GAP, height), "white")
    for index, column in enumerate(columns):
        top = GAP
        for part in column:
            picture.paste(part, (GAP + index * (WIDTH + GAP), top))
            top += part.height + GAP
    return picture


def main() -> None:
    study, target = Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "docs/report.png")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        context = browser.new_context(
            viewport={"width": WIDTH + 32, "height": 900}, color_scheme="light", bypass_csp=True
        )
        page = context.new_page()
        page.goto((study / "report.html").resolve().as_uri())
        page.wait_for_selector("html[data-charts=drawn]")
        page.wait_for_selector("html[data-live=ready]")
        picture = put_together(photograph(page))
        browser.close()
    target.parent.mkdir(parents=True, exist_ok=True)
    picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=200).save(target, optimize=True)


if __name__ == "__main__":
    main()
