//! The mechanisms used on roots, and those with which the probe attacks them (PKCS#11 v3.1, current mechanisms).
//!
//! A table, and what each mechanism wants as its parameter. Parameters live on the stack for the length of one
//! call, since they hold pointers.

use cryptoki::object::ObjectHandle;
use cryptoki_sys::*;
use std::ffi::c_void;
use std::ptr::null_mut;

pub(super) const SHA256_HMAC: CK_MECHANISM_TYPE = CKM_SHA256_HMAC;
pub(super) const ECDSA: CK_MECHANISM_TYPE = CKM_ECDSA;
pub(super) const SHA512_HMAC: CK_MECHANISM_TYPE = CKM_SHA512_HMAC;
pub(super) const AES_CMAC: CK_MECHANISM_TYPE = CKM_AES_CMAC;

/// NSS's own numbers, CKM_NSS + 1 and + 2.
const CKM_NSS_AES_KEY_WRAP: CK_MECHANISM_TYPE = 0xce53_4351;
const CKM_NSS_AES_KEY_WRAP_PAD: CK_MECHANISM_TYPE = 0xce53_4352;

/// AES key wrap with padding (RFC 5649): by the standard's number, and by that which was its before version 3 and which
/// SoftHSM has.
pub(super) const RFC_5649: &[CK_MECHANISM_TYPE] = &[CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD];
/// AES key wrap (RFC 3394), for keys of whole blocks.
pub(super) const RFC_3394: &[CK_MECHANISM_TYPE] = &[CKM_AES_KEY_WRAP];

/// The key that wraps.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrapper {
    Aes,
    Des,
    Des3,
    Rsa,
}

/// What a mechanism wants as its parameter.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    Nothing,
    /// An initialisation vector of 8 or 16 bytes.
    Iv(usize),
    Counter,
    Gcm,
    Ccm,
    Oaep(CK_MECHANISM_TYPE, CK_RSA_PKCS_MGF_TYPE),
    RsaAes,
    /// CK_KEY_DERIVATION_STRING_DATA.
    Data,
    /// Another key's handle.
    Key,
    /// CK_EXTRACT_PARAMS: from which bit on.
    FirstBit,
    Hkdf {
        extract: bool,
    },
    Kdf108,
    Kdf108Pipeline,
    Kdf108Feedback,
    /// An initialisation vector and data to encrypt.
    CbcData,
    DesCbcData,
}

/// One way of wrapping a key.
pub(super) struct Wrapping {
    pub name: &'static str,
    pub mechanism: CK_MECHANISM_TYPE,
    pub wrapper: Wrapper,
    pub shape: Shape,
}

/// One way of deriving a key from another.
pub(super) struct Deriving {
    pub name: &'static str,
    pub mechanism: CK_MECHANISM_TYPE,
    pub shape: Shape,
}

macro_rules! wrapping {
    ($($mechanism:ident $wrapper:ident $shape:expr;)*) => {
        &[$(Wrapping { name: stringify!($mechanism), mechanism: $mechanism, wrapper: Wrapper::$wrapper, shape: $shape }),*]
    };
}

macro_rules! deriving {
    ($($mechanism:ident $shape:expr;)*) => {
        &[$(Deriving { name: stringify!($mechanism), mechanism: $mechanism, shape: $shape }),*]
    };
}

/// Every way of wrapping that is tried, whether or not the module lists it.
pub(super) const WRAPPINGS: &[Wrapping] = wrapping! {
    CKM_AES_KEY_WRAP Aes Shape::Nothing;
    CKM_AES_KEY_WRAP_PAD Aes Shape::Nothing;
    CKM_AES_KEY_WRAP_KWP Aes Shape::Nothing;
    CKM_AES_KEY_WRAP_PKCS7 Aes Shape::Nothing;
    CKM_NSS_AES_KEY_WRAP Aes Shape::Nothing;
    CKM_NSS_AES_KEY_WRAP_PAD Aes Shape::Nothing;
    CKM_AES_ECB Aes Shape::Nothing;
    CKM_AES_CBC Aes Shape::Iv(16);
    CKM_AES_CBC_PAD Aes Shape::Iv(16);
    CKM_AES_CTS Aes Shape::Iv(16);
    CKM_AES_OFB Aes Shape::Iv(16);
    CKM_AES_CFB8 Aes Shape::Iv(16);
    CKM_AES_CFB128 Aes Shape::Iv(16);
    CKM_AES_CTR Aes Shape::Counter;
    CKM_AES_GCM Aes Shape::Gcm;
    CKM_AES_CCM Aes Shape::Ccm;
    CKM_DES_ECB Des Shape::Nothing;
    CKM_DES_CBC Des Shape::Iv(8);
    CKM_DES_CBC_PAD Des Shape::Iv(8);
    CKM_DES3_ECB Des3 Shape::Nothing;
    CKM_DES3_CBC Des3 Shape::Iv(8);
    CKM_DES3_CBC_PAD Des3 Shape::Iv(8);
    CKM_RSA_PKCS Rsa Shape::Nothing;
    CKM_RSA_X_509 Rsa Shape::Nothing;
    CKM_RSA_PKCS_OAEP Rsa Shape::Oaep(CKM_SHA_1, CKG_MGF1_SHA1);
    CKM_RSA_PKCS_OAEP Rsa Shape::Oaep(CKM_SHA256, CKG_MGF1_SHA256);
    CKM_RSA_AES_KEY_WRAP Rsa Shape::RsaAes;
};

/// Every way of deriving that is tried, whether or not the module lists it.
pub(super) const DERIVINGS: &[Deriving] = deriving! {
    CKM_CONCATENATE_BASE_AND_DATA Shape::Data;
    CKM_CONCATENATE_DATA_AND_BASE Shape::Data;
    CKM_CONCATENATE_BASE_AND_KEY Shape::Key;
    CKM_XOR_BASE_AND_DATA Shape::Data;
    CKM_EXTRACT_KEY_FROM_KEY Shape::FirstBit;
    CKM_MD2_KEY_DERIVATION Shape::Nothing;
    CKM_MD5_KEY_DERIVATION Shape::Nothing;
    CKM_SHA1_KEY_DERIVATION Shape::Nothing;
    CKM_SHA224_KEY_DERIVATION Shape::Nothing;
    CKM_SHA256_KEY_DERIVATION Shape::Nothing;
    CKM_SHA384_KEY_DERIVATION Shape::Nothing;
    CKM_SHA512_KEY_DERIVATION Shape::Nothing;
    CKM_SHA512_224_KEY_DERIVATION Shape::Nothing;
    CKM_SHA512_256_KEY_DERIVATION Shape::Nothing;
    CKM_SHA3_224_KEY_DERIVATION Shape::Nothing;
    CKM_SHA3_256_KEY_DERIVATION Shape::Nothing;
    CKM_SHA3_384_KEY_DERIVATION Shape::Nothing;
    CKM_SHA3_512_KEY_DERIVATION Shape::Nothing;
    CKM_SHAKE_128_KEY_DERIVATION Shape::Nothing;
    CKM_SHAKE_256_KEY_DERIVATION Shape::Nothing;
    CKM_BLAKE2B_256_KEY_DERIVE Shape::Nothing;
    CKM_BLAKE2B_512_KEY_DERIVE Shape::Nothing;
    CKM_HKDF_DERIVE Shape::Hkdf { extract: true };
    CKM_HKDF_DERIVE Shape::Hkdf { extract: false };
    CKM_HKDF_DATA Shape::Hkdf { extract: true };
    CKM_HKDF_DATA Shape::Hkdf { extract: false };
    CKM_SP800_108_COUNTER_KDF Shape::Kdf108;
    CKM_SP800_108_FEEDBACK_KDF Shape::Kdf108Feedback;
    CKM_SP800_108_DOUBLE_PIPELINE_KDF Shape::Kdf108Pipeline;
    CKM_AES_ECB_ENCRYPT_DATA Shape::Data;
    CKM_AES_CBC_ENCRYPT_DATA Shape::CbcData;
    CKM_DES_ECB_ENCRYPT_DATA Shape::Data;
    CKM_DES_CBC_ENCRYPT_DATA Shape::DesCbcData;
    CKM_DES3_ECB_ENCRYPT_DATA Shape::Data;
    CKM_DES3_CBC_ENCRYPT_DATA Shape::DesCbcData;
};

/// Mechanisms that derive from a private key by a public one: a root cannot be what they start from.
pub(super) const AGREEMENTS: &[CK_MECHANISM_TYPE] = &[
    CKM_DH_PKCS_DERIVE,
    CKM_X9_42_DH_DERIVE,
    CKM_X9_42_DH_HYBRID_DERIVE,
    CKM_X9_42_MQV_DERIVE,
    CKM_ECDH1_DERIVE,
    CKM_ECDH1_COFACTOR_DERIVE,
    CKM_ECMQV_DERIVE,
];

impl Shape {
    /// Calls `work` with `mechanism` and a parameter of this shape, valid during the call. `key` is
    /// what [`Shape::Key`] refers to.
    pub fn with<R>(
        self,
        mechanism: CK_MECHANISM_TYPE,
        key: ObjectHandle,
        work: impl FnOnce(CK_MECHANISM) -> R,
    ) -> R {
        let mut buffer = [0x5a_u8; 32];
        let bytes = buffer.as_mut_ptr();
        match self {
            Self::Nothing => work(CK_MECHANISM {
                mechanism,
                pParameter: null_mut(),
                ulParameterLen: 0,
            }),
            Self::Iv(length) => work(CK_MECHANISM {
                mechanism,
                pParameter: bytes.cast(),
                ulParameterLen: length as CK_ULONG,
            }),
            Self::Counter => pass(
                mechanism,
                CK_AES_CTR_PARAMS {
                    ulCounterBits: 32,
                    cb: [0; 16],
                },
                work,
            ),
            Self::Gcm => {
                let parameter = CK_GCM_PARAMS {
                    pIv: bytes,
                    ulIvLen: 12,
                    ulIvBits: 96,
                    pAAD: null_mut(),
                    ulAADLen: 0,
                    ulTagBits: 128,
                };
                pass(mechanism, parameter, work)
            }
            Self::Ccm => {
                let parameter = CK_CCM_PARAMS {
                    ulDataLen: 32,
                    pNonce: bytes,
                    ulNonceLen: 12,
                    pAAD: null_mut(),
                    ulAADLen: 0,
                    ulMACLen: 16,
                };
                pass(mechanism, parameter, work)
            }
            Self::Oaep(hash, mgf) => pass(mechanism, oaep(hash, mgf), work),
            Self::RsaAes => {
                let mut oaep = oaep(CKM_SHA_1, CKG_MGF1_SHA1);
                pass(
                    mechanism,
                    CK_RSA_AES_KEY_WRAP_PARAMS {
                        ulAESKeyBits: 256,
                        pOAEPParams: &mut oaep,
                    },
                    work,
                )
            }
            Self::Data => pass(
                mechanism,
                CK_KEY_DERIVATION_STRING_DATA {
                    pData: bytes,
                    ulLen: 32,
                },
                work,
            ),
            Self::Key => pass(mechanism, key.handle(), work),
            Self::FirstBit => pass::<CK_ULONG, _>(mechanism, 0, work),
            Self::Hkdf { extract } => {
                let parameter = CK_HKDF_PARAMS {
                    bExtract: CK_BBOOL::from(extract),
                    bExpand: CK_TRUE,
                    prfHashMechanism: CKM_SHA256,
                    ulSaltType: CKF_HKDF_SALT_NULL as CK_ULONG,
                    pSalt: null_mut(),
                    ulSaltLen: 0,
                    hSaltKey: 0,
                    pInfo: bytes,
                    ulInfoLen: 16,
                };
                pass(mechanism, parameter, work)
            }
            Self::Kdf108 => {
                let mut counter = CK_SP800_108_COUNTER_FORMAT {
                    bLittleEndian: CK_FALSE,
                    ulWidthInBits: 32,
                };
                let mut data = kdf108_data(bytes);
                // The other modes iterate over their own chain, which has no format.
                let pointer: *mut CK_SP800_108_COUNTER_FORMAT = &mut counter;
                data[0].pValue = pointer.cast();
                data[0].ulValueLen = size_of::<CK_SP800_108_COUNTER_FORMAT>() as CK_ULONG;
                pass(mechanism, kdf108(&mut data), work)
            }
            Self::Kdf108Pipeline => pass(mechanism, kdf108(&mut kdf108_data(bytes)), work),
            Self::Kdf108Feedback => {
                let mut data = kdf108_data(bytes);
                let parameter = CK_SP800_108_FEEDBACK_KDF_PARAMS {
                    prfType: CKM_SHA256_HMAC,
                    ulNumberOfDataParams: data.len() as CK_ULONG,
                    pDataParams: data.as_mut_ptr(),
                    ulIVLen: 0,
                    pIV: null_mut(),
                    ulAdditionalDerivedKeys: 0,
                    pAdditionalDerivedKeys: null_mut(),
                };
                pass(mechanism, parameter, work)
            }
            Self::CbcData => {
                let parameter = CK_AES_CBC_ENCRYPT_DATA_PARAMS {
                    iv: [0; 16],
                    pData: bytes,
                    length: 32,
                };
                pass(mechanism, parameter, work)
            }
            Self::DesCbcData => {
                let parameter = CK_DES_CBC_ENCRYPT_DATA_PARAMS {
                    iv: [0; 8],
                    pData: bytes,
                    length: 32,
                };
                pass(mechanism, parameter, work)
            }
        }
    }
}

fn pass<T, R>(
    mechanism: CK_MECHANISM_TYPE,
    mut parameter: T,
    work: impl FnOnce(CK_MECHANISM) -> R,
) -> R {
    let pointer: *mut T = &mut parameter;
    let length = size_of::<T>() as CK_ULONG;
    work(CK_MECHANISM {
        mechanism,
        pParameter: pointer.cast::<c_void>(),
        ulParameterLen: length,
    })
}

fn oaep(hash: CK_MECHANISM_TYPE, mgf: CK_RSA_PKCS_MGF_TYPE) -> CK_RSA_PKCS_OAEP_PARAMS {
    CK_RSA_PKCS_OAEP_PARAMS {
        hashAlg: hash,
        mgf,
        source: CKZ_DATA_SPECIFIED,
        pSourceData: null_mut(),
        ulSourceDataLen: 0,
    }
}

fn kdf108(data: &mut [CK_PRF_DATA_PARAM; 2]) -> CK_SP800_108_KDF_PARAMS {
    CK_SP800_108_KDF_PARAMS {
        prfType: CKM_SHA256_HMAC,
        ulNumberOfDataParams: data.len() as CK_ULONG,
        pDataParams: data.as_mut_ptr(),
        ulAdditionalDerivedKeys: 0,
        pAdditionalDerivedKeys: null_mut(),
    }
}

fn kdf108_data(bytes: *mut u8) -> [CK_PRF_DATA_PARAM; 2] {
    let iteration = CK_PRF_DATA_PARAM {
        type_: CK_SP800_108_ITERATION_VARIABLE,
        pValue: null_mut(),
        ulValueLen: 0,
    };
    let label = CK_PRF_DATA_PARAM {
        type_: CK_SP800_108_BYTE_ARRAY,
        pValue: bytes.cast(),
        ulValueLen: 16,
    };
    [iteration, label]
}
