"""The Simple repository API, as text in and text out: one page model, read from JSON or HTML, written as either."""

from p2pcdn.simple.described import Plain, Told, plain, told
from p2pcdn.simple.links import absolute_url
from p2pcdn.simple.model import File, ProjectPage
from p2pcdn.simple.negotiate import MediaType, negotiate
from p2pcdn.simple.parse import parse_page
from p2pcdn.simple.render import render_html, render_json

__all__ = [
    "File",
    "MediaType",
    "Plain",
    "ProjectPage",
    "Told",
    "absolute_url",
    "negotiate",
    "parse_page",
    "plain",
    "render_html",
    "render_json",
    "told",
]
