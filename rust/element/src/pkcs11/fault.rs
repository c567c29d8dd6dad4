//! What can go wrong below an element: a module's return value, or an error that is already in words.

use crate::ElementError;
use cryptoki::error::{Error, RvError};

/// An error inside this room; callers get the [`ElementError`] it turns into.
#[derive(Debug)]
pub(super) enum Fault {
    /// A PKCS#11 function said no.
    Module(Error),
    /// The module was restarted since these handles were made.
    Stale,
    /// Already in words.
    Element(ElementError),
}

impl Fault {
    /// The return value, where there is one.
    pub fn rv(&self) -> Option<RvError> {
        match self {
            Self::Module(Error::Pkcs11(rv, _)) => Some(*rv),
            _ => None,
        }
    }

    /// True if the token, or this process's hold on it, seems to be lost, so that attaching anew may help.
    ///
    /// The last three are what modules say when they do not know better; SoftHSM does, for a token
    /// whose files are gone.
    pub fn lost(&self) -> bool {
        self.lost_for_certain()
            || matches!(
                self.rv(),
                Some(
                    RvError::KeyHandleInvalid
                        | RvError::ObjectHandleInvalid
                        | RvError::SlotIdInvalid
                        | RvError::DeviceError
                        | RvError::GeneralError
                        | RvError::FunctionFailed
                )
            )
    }

    /// True for what a module says of an object that is gone, and some modules of a token that is.
    pub fn about_a_handle(&self) -> bool {
        matches!(
            self.rv(),
            Some(RvError::KeyHandleInvalid | RvError::ObjectHandleInvalid)
        )
    }

    /// As [`lost`](Self::lost), but only what can mean nothing else: in a probe, where most attempts fail.
    pub fn lost_for_certain(&self) -> bool {
        matches!(self, Self::Stale)
            || matches!(
                self.rv(),
                Some(
                    RvError::DeviceRemoved
                        | RvError::TokenNotPresent
                        | RvError::TokenNotRecognized
                        | RvError::SessionHandleInvalid
                        | RvError::SessionClosed
                        | RvError::UserNotLoggedIn
                        | RvError::CryptokiNotInitialized
                )
            )
    }

    /// True for what says nothing of whether the token would have done it at another time: a shortage, or a failure
    /// inside the token. Some modules mean "no" by the last four; they never say which.
    pub fn transient(&self) -> bool {
        matches!(
            self.rv(),
            Some(
                RvError::HostMemory
                    | RvError::DeviceMemory
                    | RvError::SessionCount
                    | RvError::OperationActive
                    | RvError::FunctionCanceled
                    | RvError::CantLock
                    | RvError::NeedToCreateThreads
                    | RvError::FunctionRejected
                    | RvError::DeviceError
                    | RvError::GeneralError
                    | RvError::FunctionFailed
            )
        )
    }

    /// True if a template was refused for what it says, so that another may be taken.
    ///
    /// The last two are what NSS says for attributes that its database has no column for.
    pub fn about_template(&self) -> bool {
        matches!(
            self.rv(),
            Some(
                RvError::AttributeReadOnly
                    | RvError::AttributeTypeInvalid
                    | RvError::AttributeValueInvalid
                    | RvError::TemplateIncomplete
                    | RvError::TemplateInconsistent
                    | RvError::ArgumentsBad
                    | RvError::GeneralError
                    | RvError::DeviceError
            )
        )
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Module(error)
    }
}

impl From<ElementError> for Fault {
    fn from(error: ElementError) -> Self {
        Self::Element(error)
    }
}

impl From<evanesce_secret::Error> for Fault {
    fn from(error: evanesce_secret::Error) -> Self {
        Self::Element(error.into())
    }
}

impl From<Fault> for ElementError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Module(error) => Self::Unavailable(words(&error)),
            Fault::Stale => Self::Unavailable("the module was restarted".to_owned()),
            Fault::Element(error) => error,
        }
    }
}

/// A fault in words, whatever it is.
pub(super) fn said(fault: &Fault) -> String {
    match fault {
        Fault::Module(error) => words(error),
        Fault::Stale => "the module was restarted".to_owned(),
        Fault::Element(error) => error.to_string(),
    }
}

/// An error as operators search for it: `C_Sign: CKR_DEVICE_REMOVED`.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::Pkcs11(RvError::VendorDefined(code) | RvError::UnknownErrorCode(code), function) => {
            format!("C_{function:?}: return value {code:#x}")
        }
        Error::Pkcs11(rv, function) => format!("C_{function:?}: {}", name(*rv)),
        other => other.to_string(),
    }
}

/// `DeviceRemoved` → `CKR_DEVICE_REMOVED`.
fn name(rv: RvError) -> String {
    let mut name = "CKR".to_owned();
    for character in format!("{rv:?}").chars() {
        if character.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(character.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptoki::context::Function;

    #[test]
    fn errors_are_named_as_the_standard_names_them() {
        let error = |rv| Error::Pkcs11(rv, Function::Sign);
        assert_eq!(
            words(&error(RvError::DeviceRemoved)),
            "C_Sign: CKR_DEVICE_REMOVED"
        );
        assert_eq!(
            words(&error(RvError::VendorDefined(0x8000_0001))),
            "C_Sign: return value 0x80000001"
        );
    }
}
