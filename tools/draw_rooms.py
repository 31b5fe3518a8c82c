"""Draw the rooms of src/tiebreak and who imports whom into ARCHITECTURE.md, from the imports themselves.

python tools/draw_rooms.py           write the drawing between its two markers
python tools/draw_rooms.py --check   exit with status 1 if the drawing is not that of the code
"""

import sys
from pathlib import Path

import grimp
import networkx

PAGE = Path(__file__).parents[1] / "ARCHITECTURE.md"
BEGIN, END = "<!-- rooms: begin (tools/draw_rooms.py) -->\n", "<!-- rooms: end -->\n"
GROUND = {"errors", "files", "rng", "calls", "settings"}  # single files that every room may use


def room_graph() -> networkx.DiGraph:
    """Rooms and their imports; an import that follows from others is left out.

    Raises: networkx.NetworkXError if rooms import each other in a circle.
    """
    imports = grimp.build_graph("tiebreak")
    rooms = {module: module.split(".")[1] for module in imports.modules if "." in module}
    graph = networkx.DiGraph()
    for module, room in rooms.items():
        for imported in imports.find_modules_directly_imported_by(module):
            other = rooms.get(imported, room)
            if room != other and not {room, other} & (GROUND | {"__main__"}):
                graph.add_edge(room, other)
    return networkx.transitive_reduction(graph)


def drawing(graph: networkx.DiGraph) -> str:
    """The graph as a Mermaid flowchart, an arrow from a room to each that it imports."""
    arrows = "".join(f"    {room} --> {other}\n" for room, other in sorted(graph.edges))
    return f"{BEGIN}```mermaid\nflowchart TD\n{arrows}```\n{END}"


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    new = before + drawing(room_graph()) + rest.split(END)[1]
    if "--check" not in sys.argv:
        PAGE.write_text(new, encoding="utf-8")
    elif new != text:
        sys.exit("The drawing in ARCHITECTURE.md is not that of the code: python tools/draw_rooms.py")


if __name__ == "__main__":
    main()
