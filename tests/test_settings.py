"""Settings files, as wavesync.settings reads them."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from wavesync.errors import SettingsError
from wavesync.settings import MAX_SETTINGS_SIZE, Section, load_settings, parse_settings


class Inner(Section, frozen=True):
    """A table within the table."""

    count: int = 3

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError("it must be 1 or more")


class Outer(Section, frozen=True):
    """A whole file."""

    name: str = "nobody"
    hosts: tuple[str, ...] = ()
    limits: Inner = Inner()


class SettingsTests(SynchronousTestCase):
    """A file gives typed settings or one sentence that names the file and the key."""

    def _refusal(self, text: str) -> str:
        error = self.assertRaises(SettingsError, parse_settings, text, Outer, name="a.toml")
        self.assertNotIn("\n", str(error))
        self.assertEqual(error.exit_status, 2)
        return str(error)

    def test_defaults(self) -> None:
        """An empty file means the defaults."""
        self.assertEqual(parse_settings("", Outer, name="a.toml"), Outer())

    def test_values(self) -> None:
        """What the file says is what the settings hold, tables within tables included."""
        text = 'name = "x"\nhosts = ["a", "b"]\n[limits]\ncount = 7\n'
        expected = Outer(name="x", hosts=("a", "b"), limits=Inner(count=7))
        self.assertEqual(parse_settings(text, Outer, name="a.toml"), expected)

    def test_unknown_key(self) -> None:
        """A misspelt key is told by its name, whether at the top or in a table."""
        self.assertEqual(self._refusal("nane = 1"), "a.toml: there is no setting 'nane'")
        self.assertEqual(
            self._refusal("[limits]\ncuont = 1"), "a.toml: there is no setting 'limits.cuont'"
        )

    def test_wrong_type(self) -> None:
        """A value of the wrong type is told with its key."""
        self.assertEqual(
            self._refusal('[limits]\ncount = "many"'),
            "a.toml: setting 'limits.count': expected `int`, got `str`",
        )

    def test_wrong_value(self) -> None:
        """A value that a section refuses is told with its table."""
        self.assertEqual(
            self._refusal("[limits]\ncount = 0"),
            "a.toml: setting 'limits': it must be 1 or more",
        )

    def test_not_toml(self) -> None:
        """Text that is no TOML is told with its line, deep nesting included."""
        self.assertIn("a.toml: is not TOML: ", self._refusal("name ="))
        self.assertIn("a.toml: ", self._refusal("name = " + "[" * 100_000))

    def test_file(self) -> None:
        """Settings come from a file; one that is missing or no text is told by its path."""
        path = Path(self.mktemp())
        error = self.assertRaises(SettingsError, load_settings, path, Outer)
        self.assertEqual(str(error), f"{path}: cannot be read: No such file or directory")
        path.write_text('name = "file"\n')
        self.assertEqual(load_settings(path, Outer).name, "file")
        path.write_bytes(b"\xff\xfe")
        error = self.assertRaises(SettingsError, load_settings, path, Outer)
        self.assertEqual(str(error), f"{path}: is not UTF-8 text")

    def test_largest_file(self) -> None:
        """A file of the largest size is read, one byte more is refused."""
        path = Path(self.mktemp())
        path.write_bytes(b"#" * MAX_SETTINGS_SIZE)
        self.assertEqual(load_settings(path, Outer), Outer())
        path.write_bytes(b"#" * (MAX_SETTINGS_SIZE + 1))
        error = self.assertRaises(SettingsError, load_settings, path, Outer)
        self.assertIn("is larger than", str(error))
