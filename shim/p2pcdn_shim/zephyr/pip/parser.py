"""The parser of options: its defaults are what pip's configuration says, and its errors are pip's."""

from __future__ import annotations

import optparse
import os
import sys

from p2pcdn_shim.zephyr.pip.configuration import Configuration
from p2pcdn_shim.zephyr.pip.errors import EXIT_UNKNOWN, PipError
from p2pcdn_shim.zephyr.pip.options import truth
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, NoReturn


class Parser(optparse.OptionParser):
    """One command's."""

    def __init__(self, name: str, configuration: Configuration | None, **settings: Any) -> None:
        usage = settings.pop("usage", None) or "\n  %prog <command> [options]"
        text = usage.replace("%prog", f"zephyr pip {name}".rstrip())
        formatter = optparse.IndentedHelpFormatter(indent_increment=1, max_help_position=30)
        super().__init__(usage=text, formatter=formatter, add_help_option=False, **settings)
        self._configuration = configuration

    def get_default_values(self) -> optparse.Values:
        values = super().get_default_values()
        if self._configuration is None:
            return values
        try:
            self._configuration.load()
        except PipError as error:
            self.exit(EXIT_UNKNOWN, str(error))
        former, self.values = self.values, values
        for key, value in self._configuration.for_command(self.prog_name):
            option = self.get_option(f"--{key}")
            if option is not None and option.action not in ("help", "version"):
                self._configure(option, key, value, values)
        self.values = former
        return values

    @property
    def prog_name(self) -> str:
        return (self.usage or "").split("zephyr pip ")[-1].split(" ")[0]

    def _configure(self, option: optparse.Option, key: str, value: str, values: optparse.Values) -> None:
        assert option.dest is not None
        if option.action in ("store_true", "store_false"):
            try:
                setattr(values, option.dest, truth(value))
            except ValueError:
                self.error(
                    f"{value} is not a valid value for {key} option, please specify a boolean value like yes/no,"
                    " true/false or 1/0 instead."
                )
        elif option.action == "count":
            setattr(values, option.dest, self._counted(key, value))
        elif option.action == "append":
            setattr(values, option.dest, [self._checked(option, key, word) for word in value.split()])
        elif option.action == "callback":
            assert option.callback is not None
            flag = option.get_opt_string()
            for word in value.split("\n") if option.type == "string" and "\n" in value else [value]:
                if word:
                    option.callback(option, flag, word, self, *(option.callback_args or ()))
        else:
            setattr(values, option.dest, self._checked(option, key, value))

    def _counted(self, key: str, value: str) -> int:
        try:
            return int(truth(value))
        except ValueError:
            pass
        try:
            number = int(value)
            if number < 0:
                raise ValueError
        except ValueError:
            self.error(
                f"{value} is not a valid value for {key} option, please instead specify either a non-negative integer"
                " or a boolean value like yes/no or false/true which is equivalent to 1/0."
            )
        return number

    def _checked(self, option: optparse.Option, key: str, value: str) -> Any:
        try:
            return option.check_value(key, value) if option.type else value
        except optparse.OptionValueError as error:
            print(f"An error occurred during configuration: {error}")
            sys.exit(3)

    def error(self, msg: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EXIT_UNKNOWN, f"{msg}\n")

    def exit(self, status: int = 0, msg: str | None = None) -> NoReturn:
        if msg:
            sys.stderr.write(msg)
        sys.stdout.flush()
        if os.environ.get("ZEPHYR_DEBUG"):
            sys.exit(status)
        sys.stderr.flush()
        os._exit(status)
