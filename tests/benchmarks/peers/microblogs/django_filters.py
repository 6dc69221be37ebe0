"""The filters of the templates, as Django takes them."""

from django import template

from tests.benchmarks.peers.microblogs import content

register = template.Library()
register.filter("ago", content.ago)
register.filter("avatar", content.avatar)
