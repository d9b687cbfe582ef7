"""The control of all attacks: the watch over them sees what it should."""

from __future__ import annotations

import os
import pickle
import subprocess
from pathlib import Path

from tests.attacks.scene import Scene


def test_the_watch_sees_what_it_should(scene: Scene) -> None:
    """The control: reading, writing, running and unpickling are all noted."""
    with scene.watched():
        scene.canary.write_text("")
        os.system("true")
        subprocess.run(["true"], check=True)
        pickle.loads(pickle.dumps(Path("x")))
        (scene.outside / "secret.csv").read_text()
        os.rename(scene.canary, scene.inside / "canary")
        scene.write("harmless", "x")
    seen = {line.split()[0] for line in scene.noted}
    assert {"opened", "os.system", "subprocess.Popen", "pickle.find_class", "os.rename"} <= seen
    assert not any("harmless" in line for line in scene.noted)
