"""Request -> the validated field of a new post."""

from wtforms import TextAreaField
from wtforms.validators import DataRequired, Length

from quartblog.models.post import BODY_MAX
from quartblog.web.forms import Form, tidy_lines
from quartblog.web.i18n import N_


class PublishForm(Form):
    """The form for a new post."""

    body = TextAreaField(
        N_("说点什么"),
        description=N_("最多 140 个字符"),
        filters=[tidy_lines],
        validators=[DataRequired(N_("请先写点什么")), Length(max=BODY_MAX, message=N_("最多 140 个字符"))],
        render_kw={"rows": 3},
    )
