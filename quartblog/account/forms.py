"""Request -> the validated fields of one's own page."""

from wtforms import PasswordField
from wtforms.validators import EqualTo, InputRequired, Length

from quartblog.auth.forms import PASSWORD_MAX
from quartblog.web.forms import Form
from quartblog.web.i18n import N_


class PasswordForm(Form):
    """A new password, for somebody who knows the present one."""

    present = PasswordField(
        N_("现在的密码"),
        validators=[InputRequired(N_("请填写密码")), Length(max=PASSWORD_MAX, message=N_("密码最多 256 个字符"))],
        render_kw={"autocomplete": "current-password"},
    )
    password = PasswordField(
        N_("新密码"),
        validators=[InputRequired(N_("请填写密码")), Length(max=PASSWORD_MAX, message=N_("密码最多 256 个字符"))],
        render_kw={"autocomplete": "new-password"},
    )
    password2 = PasswordField(
        N_("确认新密码"),
        validators=[InputRequired(N_("请再次填写密码")), EqualTo("password", N_("两次输入的密码不一致"))],
        render_kw={"autocomplete": "new-password"},
    )
